"""Every error this package raises on purpose.

    InbedderError
    ├── InputError (ValueError)         what the caller handed in
    │   ├── TextError                   a text that cannot be embedded
    │   ├── ViewError                   a view that cannot be one
    │   ├── DocumentError               an id, metadata or filter that cannot be stored or asked
    │   └── SourceError                 a file or one of its lines
    ├── ModelError                      a checkpoint
    │   ├── CheckpointError             a folder that is no checkpoint, or a broken one
    │   ├── ExportError                 an exported file that is not faithful enough
    │   ├── DeviceError                 a device that was in use and is gone
    │   └── MissingExtraError (ImportError)   an optional dependency
    └── CollectionError                 stored documents
        ├── CollectionNotFound
        ├── CollectionExists
        ├── CollectionLocked            held by another process
        ├── UnknownView                 lists the views there are
        ├── ViewNotReady                some documents lack it still
        ├── ModelMismatch               another model than the one that wrote the vectors
        └── EngineError                 what Qdrant said, in its own words
            └── ServerUnavailable       a server that does not answer, or is too busy

Each message says what was found, what was wanted and what to do. One is raised before anything
is written, or after a whole batch was; never in the middle of one.
"""

from __future__ import annotations


class InbedderError(Exception):
    """Root of the tree: catch this to catch everything this package raises on purpose."""


class InputError(InbedderError, ValueError):
    """Something handed in by the caller cannot be used."""


class TextError(InputError):
    """A text cannot be embedded."""


class ViewError(InputError):
    """A view's name or question cannot be used."""


class DocumentError(InputError):
    """A document's id or metadata, or a filter over them, cannot be used."""


class SourceError(InputError):
    """A file, or a line of it, cannot be read as documents."""


class ModelError(InbedderError):
    """A checkpoint cannot be loaded or exported."""


class CheckpointError(ModelError):
    """A folder or name is not a checkpoint, or its files do not fit each other."""


class ExportError(ModelError):
    """An exported file failed its parity gate and was not written."""


class DeviceError(ModelError):
    """The process that ran a model on a device has ended."""


class MissingExtraError(ModelError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, needed_for: str, extra: str) -> None:
        self.needed_for, self.extra = needed_for, extra
        super().__init__(
            f"{needed_for} needs packages that are not installed; "
            f"run: pip install 'inbedder-retrieval[{extra}]'"
        )

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        # Sent between processes; an exception is made anew of its message otherwise.
        return type(self), (self.needed_for, self.extra)


class CollectionError(InbedderError):
    """A collection cannot do what was asked."""


class CollectionNotFound(CollectionError):
    """There is no collection at the location."""


class CollectionExists(CollectionError):
    """The location is taken, by a collection or by something else."""


class CollectionLocked(CollectionError):
    """Another process, or another object in this one, holds the location."""


class UnknownView(CollectionError):
    """The collection has no such view."""


class ViewNotReady(CollectionError):
    """A view is being built: documents may lack it still."""


class ModelMismatch(CollectionError):
    """The vectors were written by another model, or have another dimension."""


class EngineError(CollectionError):
    """The storage engine refused or failed; its own words are in the message."""


class ServerUnavailable(EngineError):
    """A server did not answer, or was too busy, for as long as patience lasted."""
