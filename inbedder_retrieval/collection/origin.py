"""Origins: what a copy is made of, page by page, and what came of it.

A page is bounded, so that memory stays flat. An archive is an origin too (see `archive.py`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from inbedder_retrieval.collection.connection import server_address
from inbedder_retrieval.collection.engine import Point
from inbedder_retrieval.collection.location import MEMORY, is_server
from inbedder_retrieval.collection.registry import Registry
from inbedder_retrieval.collection.requests import size_of
from inbedder_retrieval.collection.schema import EXACT, HASH, ID, METADATA, TEXT, holds_document
from inbedder_retrieval.collection.store import Store
from inbedder_retrieval.errors import CollectionError, EngineError, InputError

__all__ = [
    "CopyReport",
    "Origin",
    "StoredOrigin",
    "check_apart",
    "check_room",
    "report_of",
    "resolved",
]

FIRST_PAGE, LARGEST_PAGE = 64, 1_000
# What a page may hold in memory, as `size_of` counts.
PAGE_BYTES = 16 << 20
# `exact` is read beside the metadata, which Edge may have rounded.
KEYS = (ID, TEXT, HASH, METADATA, EXACT)


class CopyReport(BaseModel):
    """What a copy came to.

    Attributes:
        source, target: the locations.
        documents: how many there are, counted on both sides.
        written: those that this call has written.
        present: those that were there already: an interrupted call wrote them.
        removed: those that were there and are gone from the source.
        views: the views' names.
        building: those among them that documents lack still, as in the source.
        left_out: views that are being rebuilt; the copy has them as they were.
    """

    source: str
    target: str
    documents: int
    written: int = 0
    present: int = 0
    removed: int = 0
    views: list[str]
    building: list[str] = []
    left_out: list[str] = []


class Origin(Protocol):
    """What is copied."""

    location: str
    identity: str
    registry: Registry
    indexes: dict[str, str]

    async def count(self) -> int:
        """Count the documents."""
        ...

    async def page(self, after: str | None) -> tuple[list[Point], str | None]:
        """Return some points, and what to give as `after` for the next; None at the end."""
        ...

    async def gone(self, points: Sequence[Point]) -> list[Point]:
        """Return those of the points that are not here."""
        ...

    async def check(self) -> None:
        """Raise CollectionError where views were dropped or rebuilt since it was opened."""
        ...


class StoredOrigin:
    """A collection on an engine, as a source. A page is as long as those before it let expect."""

    def __init__(self, store: Store, indexes: dict[str, str]) -> None:
        self.location = store.location
        self.registry = store.registry
        self.identity = store.registry.created.isoformat()
        self.indexes = indexes
        self._engine = store.engine
        self._vectors = [record.vector for record in store.registry.records.values()]
        self._limit = FIRST_PAGE

    async def count(self) -> int:
        return await self._engine.count()

    async def page(self, after: str | None) -> tuple[list[Point], str | None]:
        points, after = await self._engine.scroll(
            KEYS, limit=self._limit, after=after, vectors=self._vectors
        )
        if others := [point.id for point in points if not holds_document(point.payload)]:
            raise CollectionError(
                f"{self.location} holds points that are no documents, such as {others[0]}; "
                "'inbedder repair --delete' deletes them"
            )
        if points:
            mean = sum(map(size_of, points)) // len(points)
            self._limit = max(1, min(LARGEST_PAGE, 2 * self._limit, PAGE_BYTES // max(mean, 1)))
        return points, after

    async def gone(self, points: Sequence[Point]) -> list[Point]:
        here = await self._engine.retrieve([point.id for point in points], [ID])
        return [point for point in points if point.id not in here]

    async def check(self) -> None:
        now = Registry.from_entries(await self._engine.read_registry(), self.location)
        if not set(self._vectors) <= {record.vector for record in now.records.values()}:
            raise CollectionError(
                f"views of {self.location} were dropped or rebuilt while it was copied; copy it "
                "again, and the copy begins anew"
            )


def report_of(
    origin: Origin, target: str | Path, *, documents: int, written: int = 0
) -> CopyReport:
    """Return the report of a copy that has so many documents."""
    records = origin.registry.records.values()
    return CopyReport(
        source=origin.location,
        target=str(target),
        documents=documents,
        written=written,
        views=[record.name for record in records],
        building=[record.name for record in records if record.state == "building"],
        left_out=list(origin.registry.successors),
    )


def check_apart(source: str | Path, target: str | Path) -> None:
    """Raise InputError where two locations are one place."""
    if str(source) != MEMORY and resolved(source) == resolved(target):
        raise InputError(f"{source} and {target} are one place; give another to copy to")


def resolved(location: str | Path) -> str:
    """Return a location as it is written in full: two names of one place are equal."""
    if is_server(location):
        address = server_address(str(location))
        scheme = address.url.partition(":")[0]
        return f"{scheme}://{address.host}:{address.port}/{address.collection}"
    return str(location) if str(location) == MEMORY else os.path.realpath(location)


def check_room(place: Path, registry: Registry, documents: int) -> None:
    """Raise EngineError where a disk has no room for the vectors alone.

    Edge maps its files into memory: a disk that runs full under it ends the process.
    """
    needed = 4 * documents * sum(record.dimension for record in registry.records.values())
    above = next((one for one in place.absolute().parents if one.is_dir()), None)
    if above is not None and (free := shutil.disk_usage(above).free) < needed:
        raise EngineError(
            f"{place} has room for {free / 1e6:.0f} MB, and the vectors alone take "
            f"{needed / 1e6:.0f} MB; make room, or give a place on another disk"
        )
