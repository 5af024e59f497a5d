"""The registry: which views a collection has, and the named vectors that hold them.

It is a flat mapping of text keys to JSON objects: one for the collection, one a view. Flat, because
Qdrant merges collection metadata at the top level only: a nested object would wipe its siblings;
and an entry a view, so that two writers who change different views do not undo each other. Nothing
here talks to an engine.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import unicodedata
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from inbedder_retrieval.collection.storage import Storage
from inbedder_retrieval.errors import CollectionError, ModelMismatch, UnknownView, ViewError
from inbedder_retrieval.views import View, Views

__all__ = [
    "CollectionInfo",
    "ModelIdentity",
    "Registry",
    "Unfinished",
    "ViewRecord",
    "vector_name",
]

FORMAT = 1
COLLECTION_KEY = "inbedder"
VIEW_KEY = "inbedder.view."
# Says that another library's collection was adopted, and how its payloads are laid out.
ADOPTED_KEY = "inbedder.adopted"
# Qdrant takes any name up to 255 bytes, but a longer one leaves a shard on disk unreadable.
MAX_VECTOR_NAME = 64


class ModelIdentity(Protocol):
    """What tells models apart; an embedder has it."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def dimension(self) -> int: ...


class ViewRecord(BaseModel):
    """What the registry keeps of one view.

    Attributes:
        vector: the named vector that holds it.
        model, fingerprint: the model that wrote its vectors.
        state: `building` while documents may lack the vector, then `ready`; `dropped` while its
            vectors are still to be deleted.
        place: views are listed by it, in the order they were added.
        replaces: the vector of the view of this name, whose place it takes once it is ready.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    instruction: str | None = None
    vector: str
    dimension: int
    model: str
    fingerprint: str
    state: Literal["building", "ready", "dropped"]
    created: datetime
    place: int = 0
    replaces: str | None = None

    @property
    def view(self) -> View:
        return View(self.name, self.instruction)


class CollectionInfo(BaseModel):
    """What a collection is, for people and machines to read.

    Attributes:
        rebuilding: what is being built in the place of views of the same names.
        lacking: how many documents lack a vector that is being built still, by vector name.
    """

    location: str
    engine: str
    documents: int
    views: list[ViewRecord]
    rebuilding: list[ViewRecord] = []
    lacking: dict[str, int] = {}
    indexed_fields: list[str]
    storage: Storage = Storage()


class Unfinished(BaseModel):
    """What marks a copy until it is whole.

    Attributes:
        source: where it is copied from.
        identity: what tells that collection from others, wherever it is.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: str
    identity: str


class Registry(BaseModel):
    """A collection's views, by name, in the order they were added.

    Attributes:
        records: the views.
        successors: views being built in the place of one of the same name.
        dropped: vectors that are still to be deleted, by vector name.
        storage: how the engine keeps the vectors.
        unfinished: set while documents are still to be copied here.
    """

    model_config = ConfigDict(frozen=True)

    created: datetime
    storage: Storage = Storage()
    records: dict[str, ViewRecord]
    successors: dict[str, ViewRecord] = {}
    dropped: dict[str, ViewRecord] = {}
    unfinished: Unfinished | None = None

    @classmethod
    def new(cls, views: Views, model: ModelIdentity, storage: Storage | None = None) -> Registry:
        """Lay out the registry of a collection about to be created."""
        now = datetime.now(timezone.utc)
        records = {
            view.name: _record(view, model, now, place=place) for place, view in enumerate(views)
        }
        return cls(created=now, storage=storage or Storage(), records=records)

    @classmethod
    def from_entries(
        cls, entries: Mapping[str, Any], where: str, *, allow_unfinished: bool = False
    ) -> Registry:
        """Read the flat entries an engine keeps.

        Raises:
            CollectionError: they are not a registry, or one of a newer format; or the collection
                is a copy that was not finished, and that is not allowed.
        """
        try:
            head = entries[COLLECTION_KEY]
            if head["format"] != FORMAT:
                raise CollectionError(
                    f"{where} was written in format {head['format']}; this version reads format "
                    f"{FORMAT}. Install a newer inbedder-retrieval"
                )
            found = [
                ViewRecord.model_validate(entry)
                for key, entry in entries.items()
                # An engine may keep what was removed as an entry without a value.
                if key.startswith(VIEW_KEY) and entry is not None
            ]
            found.sort(key=lambda record: (record.place, record.vector))
            dropped = {record.vector: record for record in found if record.state == "dropped"}
            found = [record for record in found if record.state != "dropped"]
            records = {record.name: record for record in found if record.replaces is None}
            if not records:
                raise ValueError("it lists no view")
            coming = {record.name: record for record in found if record.replaces is not None}
            # What was to take the place of a view that is gone has no place.
            dropped |= {one.vector: one for one in coming.values() if one.name not in records}
            registry = cls(
                created=head["created"],
                storage=head.get("storage", {}),
                records=records,
                successors={name: record for name, record in coming.items() if name in records},
                dropped=dropped,
                unfinished=head.get("unfinished"),
            )
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise CollectionError(
                f"{where} is no collection of this package: its registry cannot be read ({error})"
            ) from error
        if registry.unfinished is not None and not allow_unfinished:
            source = registry.unfinished.source
            raise CollectionError(
                f"{where} is a copy of {source} that was not finished; finish it by copying "
                f"again (inbedder copy {shlex.quote(source)} {shlex.quote(where)}), or delete it"
            )
        return registry

    def with_views(self, views: Views, model: ModelIdentity) -> Registry:
        """Return the registry with further views, as building; those it has stay as they are."""
        now = datetime.now(timezone.utc)
        last = max(record.place for record in self.records.values())
        fresh = [view for view in views if view.name not in self.records]
        building = {
            view.name: _record(view, model, now, place=last + number, building=True)
            for number, view in enumerate(fresh, 1)
        }
        return self.model_copy(update={"records": self.records | building})

    def with_successors(self, views: Views, model: ModelIdentity) -> Registry:
        """Return the registry with views to be built in the place of those of their names.

        A successor that is there already, with the same question and model, stays as it is.
        """
        now = datetime.now(timezone.utc)
        successors = dict(self.successors)
        for view in views:
            old, begun = self.record(view.name), self.successors.get(view.name)
            if begun and (begun.view, begun.fingerprint) == (view, model.fingerprint):
                continue
            fresh = _record(view, model, now, place=old.place, building=True)
            successors[view.name] = fresh.model_copy(update={"replaces": old.vector})
        given_up = [
            begun
            for name, begun in self.successors.items()
            if successors[name].vector != begun.vector
        ]
        return self.model_copy(update={"successors": successors}).dropping(given_up)

    def switched(self, vectors: Iterable[str]) -> Registry:
        """Return the registry with these successors in the place of what they replace."""
        chosen = set(vectors)
        taken = {
            name: record.model_copy(update={"state": "ready", "replaces": None})
            for name, record in self.successors.items()
            if record.vector in chosen
        }
        left = {name: record for name, record in self.successors.items() if name not in taken}
        replaced = [self.records[name] for name in taken]
        switched = self.model_copy(update={"records": self.records | taken, "successors": left})
        return switched.dropping(replaced)

    def ready(self, names: Iterable[str]) -> Registry:
        """Return the registry with these views marked as ready."""
        done = {name: self.records[name].model_copy(update={"state": "ready"}) for name in names}
        return self.model_copy(update={"records": self.records | done})

    def renamed(self, name: str, to: str) -> Registry:
        """Return the registry with a view under another name; its vector stays.

        Raises:
            UnknownView: there is none of this name.
            ViewError: there is one of the new name, or it can be none.
        """
        if name != to and to in self.records:
            raise ViewError(f"there is a view {to!r} already; choose another name")
        self.record(name)
        View(to, self.records[name].instruction)

        def relabel(records: Mapping[str, ViewRecord]) -> dict[str, ViewRecord]:
            return {
                to if label == name else label: (
                    record.model_copy(update={"name": to}) if label == name else record
                )
                for label, record in records.items()
            }

        return self.model_copy(
            update={"records": relabel(self.records), "successors": relabel(self.successors)}
        )

    def without(self, name: str) -> Registry:
        """Return the registry without a view, and without what was to take its place.

        Raises:
            UnknownView: there is none of this name.
            ViewError: it is the only one.
        """
        self.record(name)
        left = {other: record for other, record in self.records.items() if other != name}
        if not left:
            raise ViewError(
                f"view {name!r} is the only one here; add another before it is dropped, or delete "
                "the collection"
            )
        coming = {other: record for other, record in self.successors.items() if other != name}
        gone = [record for record in self.written if record.name == name]
        return self.model_copy(update={"records": left, "successors": coming}).dropping(gone)

    def dropping(self, gone: Iterable[ViewRecord]) -> Registry:
        """Return the registry with these vectors as still to be deleted."""
        marked = {record.vector: record.model_copy(update={"state": "dropped"}) for record in gone}
        return self.model_copy(update={"dropped": self.dropped | marked})

    def forgetting(self, vectors: Iterable[str]) -> Registry:
        """Return the registry without these dropped vectors, which are deleted now."""
        kept = {name: record for name, record in self.dropped.items() if name not in set(vectors)}
        return self.model_copy(update={"dropped": kept})

    def entries(self) -> dict[str, Any]:
        """Return the flat entries for an engine to keep."""
        head: dict[str, Any] = {
            "format": FORMAT,
            "created": self.created.isoformat(),
            "storage": self.storage.model_dump(mode="json", exclude_defaults=True),
        }
        if self.unfinished is not None:
            head["unfinished"] = self.unfinished.model_dump()
        return {COLLECTION_KEY: head} | {
            VIEW_KEY + record.vector: record.model_dump(mode="json", exclude_none=True)
            for record in [*self.written, *self.dropped.values()]
        }

    def changes(self, before: Registry) -> dict[str, Any]:
        """Return the entries that differ from an earlier registry; None for one that is gone.

        Only these are written, so that two writers who change different views lose nothing.
        """
        old, new = before.entries(), self.entries()
        changed = {key: value for key, value in new.items() if old.get(key) != value}
        return changed | dict.fromkeys(old.keys() - new.keys())

    @property
    def written(self) -> list[ViewRecord]:
        """Every vector that a new document gets: of the views, and of those being built."""
        return [*self.records.values(), *self.successors.values()]

    @property
    def views(self) -> Views:
        return Views(record.view for record in self.records.values())

    def record(self, name: str) -> ViewRecord:
        """Return a view's record, or raise UnknownView with the names there are."""
        if name not in self.records:
            raise UnknownView(
                f"there is no view {name!r} here; the collection has {', '.join(self.records)}"
            )
        return self.records[name]

    def check_model(self, model: ModelIdentity) -> None:
        """Raise ModelMismatch unless every view was written by this model."""
        for record in self.records.values():
            if record.dimension != model.dimension:
                raise ModelMismatch(
                    f"view {record.name!r} holds vectors of {record.dimension} numbers by "
                    f"{record.model}, and {model.name} makes {model.dimension}; open the "
                    f"collection with {record.model}, or rebuild its views with this model"
                )
            if record.fingerprint != model.fingerprint:
                raise ModelMismatch(
                    f"view {record.name!r} was written by {record.model} (fingerprint "
                    f"{record.fingerprint}), not by {model.name} ({model.fingerprint}); their "
                    "vectors cannot be compared. Open the collection with that model, or rebuild "
                    "its views with this one ('inbedder views rebuild LOCATION --model MODEL')"
                )


def _record(
    view: View, model: ModelIdentity, now: datetime, *, place: int = 0, building: bool = False
) -> ViewRecord:
    name = vector_name(view, model.fingerprint)
    return ViewRecord(
        name=view.name,
        instruction=view.instruction,
        # A name that was never used: an engine's log may hold the deletion of an older one.
        vector=fresh_name(name) if building else name,
        dimension=model.dimension,
        model=model.name,
        fingerprint=model.fingerprint,
        state="building" if building else "ready",
        created=now,
        place=place,
    )


def vector_name(view: View, fingerprint: str) -> str:
    """Name the vector of a view: a readable slug and a hash of what its vectors depend on.

    A question cannot be a vector name. The name is made of `[a-z0-9-]`, at most 64 characters.
    Views that differ in anything have different names, also where their slugs are alike.
    """
    identity = f"{fingerprint}\n{view.name}\n{view.instruction or ''}".encode()
    digest = hashlib.blake2b(identity, digest_size=4).hexdigest()
    ascii_name = unicodedata.normalize("NFKD", view.name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name.lower()).strip("-") or "view"
    return f"{slug[: MAX_VECTOR_NAME - len(digest) - 1].rstrip('-')}-{digest}"


def fresh_name(name: str) -> str:
    """Return a vector name that no other has, made of another."""
    own = uuid.uuid4().hex[:8]
    return f"{name[: MAX_VECTOR_NAME - len(own) - 1].rstrip('-')}-{own}"
