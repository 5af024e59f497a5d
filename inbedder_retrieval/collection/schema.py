"""What a collection looks like in storage: names, payload, and the registry of its views.

The registry is a flat mapping of text keys to JSON objects: one for the collection, one a view.
Flat, because Qdrant merges collection metadata at the top level only: a nested object would wipe
its siblings. Nothing here talks to an engine.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from inbedder_retrieval.documents import Document
from inbedder_retrieval.errors import CollectionError, ModelMismatch, UnknownView, ViewError
from inbedder_retrieval.views import View, Views

__all__ = [
    "CollectionInfo",
    "Registry",
    "ViewRecord",
    "payload_of",
    "point_id",
    "text_hash",
    "vector_name",
]

FORMAT = 1
COLLECTION_KEY = "inbedder"
VIEW_KEY = "inbedder.view."
ID, TEXT, HASH, METADATA, EXACT = "id", "text", "hash", "metadata", "exact"
# Qdrant takes any name up to 255 bytes, but a longer one leaves a shard on disk unreadable.
MAX_VECTOR_NAME = 64
_POINT_NAMESPACE = uuid.UUID("6f1d3c62-5a0e-5b83-9a34-6e0c5f6b0a71")


class ViewRecord(BaseModel):
    """What the registry keeps of one view.

    Attributes:
        vector: the named vector that holds it.
        model, fingerprint: the model that wrote its vectors.
        state: `building` while documents may lack the vector, then `ready`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    instruction: str | None
    vector: str
    dimension: int
    model: str
    fingerprint: str
    state: Literal["building", "ready"]
    created: datetime

    @property
    def view(self) -> View:
        return View(self.name, self.instruction)


class CollectionInfo(BaseModel):
    """What a collection is, for people and machines to read."""

    location: str
    engine: str
    documents: int
    views: list[ViewRecord]
    indexed_fields: list[str]


class Registry(BaseModel):
    """A collection's views, by name, in the order they were added."""

    model_config = ConfigDict(frozen=True)

    created: datetime
    records: dict[str, ViewRecord]

    @classmethod
    def new(cls, views: Views, *, model: str, fingerprint: str, dimension: int) -> Registry:
        """Lay out the registry of a collection about to be created."""
        now = datetime.now(timezone.utc)
        return cls(
            created=now,
            records={
                view.name: ViewRecord(
                    name=view.name,
                    instruction=view.instruction,
                    vector=vector_name(view, fingerprint),
                    dimension=dimension,
                    model=model,
                    fingerprint=fingerprint,
                    state="ready",
                    created=now,
                )
                for view in views
            },
        )

    @classmethod
    def from_entries(cls, entries: Mapping[str, Any], where: str) -> Registry:
        """Read the flat entries an engine keeps.

        Raises:
            CollectionError: they are not a registry, or one of a newer format.
        """
        try:
            head = entries[COLLECTION_KEY]
            if head["format"] != FORMAT:
                raise CollectionError(
                    f"{where} was written in format {head['format']}; this version reads format "
                    f"{FORMAT}. Install a newer inbedder-retrieval"
                )
            # Entries that the head does not list are of views that were dropped.
            found = [ViewRecord.model_validate(entries[VIEW_KEY + one]) for one in head["views"]]
            if not found or [record.vector for record in found] != head["views"]:
                raise ValueError(f"it lists the views {head['views']} and holds {len(found)}")
            return cls(created=head["created"], records={record.name: record for record in found})
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise CollectionError(
                f"{where} is no collection of this package: its registry cannot be read ({error})"
            ) from error

    def with_views(self, views: Views, *, model: str, fingerprint: str, dimension: int) -> Registry:
        """Return the registry with further views, as building; those it has stay as they are."""
        fresh = Registry.new(views, model=model, fingerprint=fingerprint, dimension=dimension)
        # A name that was never used: an engine's log may hold the deletion of an older one.
        building = {
            name: record.model_copy(
                update={"state": "building", "vector": fresh_name(record.vector)}
            )
            for name, record in fresh.records.items()
            if name not in self.records
        }
        return self.model_copy(update={"records": self.records | building})

    def ready(self, names: Iterable[str]) -> Registry:
        """Return the registry with these views marked as ready."""
        done = {name: self.records[name].model_copy(update={"state": "ready"}) for name in names}
        return self.model_copy(update={"records": self.records | done})

    def without(self, name: str) -> Registry:
        """Return the registry without a view.

        Raises:
            ViewError: it is the only one.
        """
        left = {other: record for other, record in self.records.items() if other != name}
        if not left:
            raise ViewError(
                f"view {name!r} is the only one here; add another before it is dropped, or delete "
                "the collection"
            )
        return self.model_copy(update={"records": left})

    def entries(self) -> dict[str, Any]:
        """Return the flat entries for an engine to keep."""
        records = self.records.values()
        head = {
            "format": FORMAT,
            "created": self.created.isoformat(),
            "views": [record.vector for record in records],
        }
        return {COLLECTION_KEY: head} | {
            VIEW_KEY + record.vector: record.model_dump(mode="json") for record in records
        }

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

    def check_model(self, *, model: str, fingerprint: str, dimension: int) -> None:
        """Raise ModelMismatch unless every view was written by this model."""
        for record in self.records.values():
            if record.dimension != dimension:
                raise ModelMismatch(
                    f"view {record.name!r} holds vectors of {record.dimension} numbers by "
                    f"{record.model}, and {model} makes {dimension}; open the collection with "
                    f"{record.model}, or make a new one"
                )
            if record.fingerprint != fingerprint:
                raise ModelMismatch(
                    f"view {record.name!r} was written by {record.model} (fingerprint "
                    f"{record.fingerprint}), not by {model} ({fingerprint}); their vectors cannot "
                    f"be compared. Open the collection with {record.model}, or make a new one"
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


def point_id(document_id: str) -> str:
    """Return the UUID a document is stored under (RFC 9562 version 5 of its id)."""
    return str(uuid.uuid5(_POINT_NAMESPACE, document_id))


def text_hash(text: str) -> str:
    """Return 32 hexadecimal digits that tell an edited text from an unchanged one."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def as_json(value: object) -> str:
    """Return JSON text that is equal for equal values of equal types: 1 is neither 1.0 nor True."""
    return json.dumps(value, sort_keys=True)


def payload_of(document: Document) -> dict[str, Any]:
    """Return what is stored beside a document's vectors."""
    payload: dict[str, Any] = {
        ID: document.id,
        TEXT: document.text,
        HASH: text_hash(document.text),
        METADATA: document.metadata,
    }
    if _has_long_float(document.metadata):
        # Edge reads such a number back with an error in its last bit: keep its text too.
        payload[EXACT] = json.dumps(document.metadata)
    return payload


def metadata_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata as it was given, from a payload with METADATA and EXACT."""
    found: dict[str, Any] = json.loads(payload[EXACT]) if EXACT in payload else payload[METADATA]
    return found


def _has_long_float(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_long_float, value.values()))
    if isinstance(value, list):
        return any(map(_has_long_float, value))
    if not isinstance(value, float):
        return False
    _, digits, exponent = Decimal(repr(value)).as_tuple()
    return len(digits) > 15 or abs(int(exponent)) > 22
