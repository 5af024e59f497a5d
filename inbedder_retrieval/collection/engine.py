"""Engines: what stores and finds points, and how a location string chooses one.

    ./support.inb           a folder: Qdrant Edge in this process
    :memory:                nothing on disk: qdrant-client's local mode
    http://host:6333/name   a Qdrant server, and the collection's name there

An engine speaks of points and named vectors. It knows nothing of documents, views or models.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.collection.address import DEFAULT_COLLECTION
from inbedder_retrieval.collection.filters import FieldKind, Where
from inbedder_retrieval.errors import (
    CollectionExists,
    CollectionNotFound,
    EngineError,
    InputError,
)

__all__ = [
    "Engine",
    "FoundPoint",
    "Point",
    "VectorQuery",
    "candidate_count",
    "create_engine",
    "open_engine",
]

MEMORY = ":memory:"
SERVER = ("http://", "https://")
# The file that marks a folder as a collection of the one engine or the other.
EDGE_MARK, LOCAL_MARK = "registry.json", "meta.json"
LOCAL_COLLECTION = DEFAULT_COLLECTION


@dataclass(frozen=True)
class Point:
    """A stored point: a UUID, JSON beside it, and unit vectors (H,) by vector name."""

    id: str
    payload: dict[str, Any]
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True)
class FoundPoint:
    """A point that a search found, with the searched vectors and its score."""

    payload: dict[str, Any]
    vectors: dict[str, NDArray[np.float32]]
    score: float


@dataclass(frozen=True)
class VectorQuery:
    """A unit vector (H,) to compare with one named vector, and what its cosine weighs."""

    vector_name: str
    vector: NDArray[np.float32]
    weight: float = 1.0


class Engine(Protocol):
    """What a collection needs of storage. Every method may raise EngineError."""

    @property
    def kind(self) -> str:
        """What is running: `edge`, `local` or `server`, with its version."""
        ...

    def read_registry(self) -> dict[str, Any]:
        """Return the registry's flat entries."""
        ...

    def write_registry(self, entries: Mapping[str, Any]) -> None:
        """Keep these entries; others, of views that were dropped, may stay beside them."""
        ...

    def add_vectors(self, widths: Mapping[str, int]) -> None:
        """Make named vectors that no point has yet; one that is there stays as it is."""
        ...

    def drop_vector(self, name: str) -> None:
        """Delete a named vector from all points; one that is not there is passed over."""
        ...

    def count_lacking(self, names: Sequence[str]) -> int:
        """Count the points that lack any of these vectors, exactly."""
        ...

    def lacking(
        self, names: Sequence[str], keys: Sequence[str], *, limit: int, after: str | None
    ) -> tuple[list[Point], str | None]:
        """Return points that lack any of these vectors, with these payload keys.

        Also returns what to give as `after` to go on from there; None where there are no more.
        """
        ...

    def fill_vectors(self, points: Sequence[Point], names: Sequence[str]) -> None:
        """Write vectors to stored points that still lack any of `names`; leave all else."""
        ...

    def clear_vectors(self, ids: Sequence[str], names: Sequence[str]) -> None:
        """Delete these vectors from these points."""
        ...

    def upsert(self, points: Sequence[Point]) -> None:
        """Write whole points; what was stored under their ids is replaced."""
        ...

    def overwrite_payload(self, points: Sequence[Point]) -> None:
        """Replace the payload of stored points and leave their vectors."""
        ...

    def retrieve(self, ids: Sequence[str], keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the named payload keys of those ids that are stored."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points; ids that are not stored are passed over."""
        ...

    def count(self, where: Where | None = None) -> int:
        """Count points exactly, all or those that fit the filter."""
        ...

    def search(
        self, queries: Sequence[VectorQuery], *, limit: int, where: Where | None = None
    ) -> list[FoundPoint]:
        """Return the nearest points: by cosine for one query, by weighted sum for several."""
        ...

    def indexed_fields(self) -> set[str]:
        """Return the payload paths that have an index."""
        ...

    def index_fields(self, fields: Mapping[str, FieldKind]) -> None:
        """Create payload indexes where there are none yet."""
        ...

    def flush(self) -> None:
        """Return once everything written is on disk."""
        ...

    def close(self) -> None:
        """Let go of the location. Further calls raise."""
        ...


def candidate_count(limit: int) -> int:
    """How many nearest points of each view a weighted search looks at."""
    return max(200, 10 * limit)


def create_engine(
    location: str | Path, vectors: Mapping[str, int], registry: Mapping[str, Any]
) -> Engine:
    """Create an empty collection with named vectors of the given widths, and open it.

    It appears whole, registry included, or not at all.

    Raises:
        CollectionExists: the location is taken; nothing there is touched.
        EngineError: the engine refused.
    """
    if str(location) == MEMORY or str(location).startswith(SERVER):
        from inbedder_retrieval.collection.client import ClientEngine

        return ClientEngine.create(str(location), vectors, registry)
    folder = _folder(location)
    try:
        if folder.is_file():
            raise CollectionExists(f"{folder} is a file; give a folder that does not exist yet")
        inside = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise EngineError(f"no collection can be created at {folder}: {error}") from error
    if inside:
        found = "a collection" if _folder_kind(folder) else f"other files ({inside[0]}, ...)"
        raise CollectionExists(
            f"{folder} already holds {found}; open it, or give a folder that does not exist yet"
        )
    if importlib.util.find_spec("qdrant_edge") is None:
        from inbedder_retrieval.collection.client import ClientEngine

        return ClientEngine.create(folder, vectors, registry)
    from inbedder_retrieval.collection.edge import EdgeEngine

    return EdgeEngine.create(folder, vectors, registry)


def open_engine(location: str | Path) -> Engine:
    """Open the collection at a location.

    Raises:
        CollectionNotFound: there is none.
        CollectionLocked: another process, or another object in this one, holds the folder.
        EngineError: the engine refused, or the server does not answer.
    """
    if str(location) == MEMORY:
        raise CollectionNotFound(
            f"a collection in {MEMORY} lives as long as the object that created it; "
            "create one, or give a folder"
        )
    if str(location).startswith(SERVER):
        from inbedder_retrieval.collection.client import ClientEngine

        return ClientEngine.open(str(location))
    folder = _folder(location)
    try:
        there = folder.exists()
    except OSError as error:
        raise EngineError(f"no collection can be opened at {folder}: {error}") from error
    if not there:
        raise CollectionNotFound(f"there is no collection at {folder}; create it first")
    kind = _folder_kind(folder)
    if kind is None:
        raise CollectionNotFound(
            f"{folder} is not a collection (it has neither {EDGE_MARK} nor {LOCAL_MARK}); "
            "give the folder a collection was created in"
        )
    if kind == "local":
        from inbedder_retrieval.collection.client import ClientEngine

        return ClientEngine.open(folder)
    if importlib.util.find_spec("qdrant_edge") is None:
        raise InputError(
            f"{folder} was written by Qdrant Edge, which has no build for this machine; "
            "copy the collection to a server from a machine that has one"
        )
    from inbedder_retrieval.collection.edge import EdgeEngine

    return EdgeEngine.open(folder)


def _folder(location: str | Path) -> Path:
    if str(location) == "":
        raise InputError("the location is empty; give a folder, :memory: or a server's address")
    if "://" in str(location):
        raise InputError(
            f"{str(location)!r} is neither a folder nor a server's address; "
            "an address begins with http:// or https://"
        )
    if "\0" in str(location):
        raise EngineError(f"no collection can be created at {str(location)!r}: no path holds NUL")
    return Path(location)


def _folder_kind(folder: Path) -> str | None:
    if (folder / EDGE_MARK).is_file():
        return "edge"
    try:
        # Others have files of this name too.
        found = json.loads((folder / LOCAL_MARK).read_bytes())
        return "local" if LOCAL_COLLECTION in found["collections"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
