"""The engine of an adopted collection: another library's points, with views beside their vectors.

A point keeps its id, its vectors and its payload. What this package keeps of a document stands
under one key of its own, so that it meets no key of theirs:

    {"page_content": ..., "metadata": {...},        theirs
     "inbedder": {"id", "text", "hash", "metadata", "point"}}      ours

A document's id is its point's id. Elsewhere a point's id is made of the document's, and what a
collection does goes by that; it stands under `point`, and is translated here. Points that are not
adopted yet are not seen. What is written through this engine is written in their layout, too.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qdrant_client import AsyncQdrantClient, models

from inbedder_retrieval.collection.client import ClientEngine
from inbedder_retrieval.collection.client_terms import by_shard, lists_of, point_of
from inbedder_retrieval.collection.connection import Connection
from inbedder_retrieval.collection.engine import FoundPoint, Point, SearchRequest, make_way
from inbedder_retrieval.collection.filters import FieldKind, Where
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.layouts import Layout
from inbedder_retrieval.collection.line import Line
from inbedder_retrieval.collection.location import is_server
from inbedder_retrieval.collection.schema import ID, document_of, payload_of, point_id
from inbedder_retrieval.documents import Document
from inbedder_retrieval.errors import CollectionNotFound, InputError

__all__ = ["AdoptedEngine", "record_of"]

OURS, POINT = "inbedder", "point"
# How many points' ids are remembered, so that what was just read is written without a search.
REMEMBERED = 10_000
LARGEST_NUMBER = 2**64


@dataclass(frozen=True)
class _Placed(Where):
    """A condition on metadata, where it is kept here."""

    @property
    def path(self) -> str:
        return f"{OURS}.{super().path}"


@dataclass(frozen=True)
class _Own(Where):
    """A condition on what is kept beside metadata."""

    @property
    def path(self) -> str:
        return f"{OURS}.{self.key}"


class AdoptedEngine(ClientEngine):
    """A ClientEngine that finds documents in another library's points."""

    def __init__(self, line: Line, collection: str, layout: Layout | None = None) -> None:
        super().__init__(line, collection)
        self.layout = layout
        self._theirs: dict[str, str] = {}

    @classmethod
    def at(
        cls, location: str | Path, name: str | None = None, connection: Connection | None = None
    ) -> AdoptedEngine:
        """Connect to another library's collection.

        Args:
            name: the collection's name in a folder of qdrant-client's local mode.

        Raises:
            CollectionNotFound: there is none.
            InputError: a folder is given without a name, or a server's address with one.
        """
        if is_server(location) is (name is not None):
            raise InputError(
                f"{location} is given with the collection name {name!r}; a folder needs a name, "
                "and a server's address ends in it"
            )
        if name is None:
            engine = cls.over(ClientEngine.open(str(location), connection))
        else:
            folder = Path(location)
            if not folder.is_dir():
                raise CollectionNotFound(f"there is no folder {folder}; give qdrant-client's")
            engine = cls(Line.to_local(folder), name)
        try:
            if not run(engine._exists()):
                raise CollectionNotFound(f"{location} has no collection {engine._collection!r}")
        except BaseException:
            run(engine.close())
            raise
        return engine

    @classmethod
    def over(cls, engine: ClientEngine, layout: Layout | None = None) -> AdoptedEngine:
        """Return an engine over the same collection, by the same connection."""
        adopted = cls(engine._line, engine._collection, layout)
        adopted._dialect = engine._dialect
        return adopted

    def awaiting(self) -> AdoptedEngine | None:
        """Return another engine over the same collection of a server, for an event loop."""
        if not self._server:
            return None
        line = Line.to_server(AsyncQdrantClient, self._where, self._line.connection)
        engine = AdoptedEngine(line, self._collection, self.layout)
        engine._dialect = self._dialect
        return engine

    async def page(
        self, limit: int, after: str | None
    ) -> tuple[list[tuple[Point, dict[str, Any] | None]], str | None]:
        """Return points as they are, each with what is kept of it here, if anything is."""
        records, following = await self._call(
            "list points", "scroll", limit=limit, offset=_number(after), with_payload=True
        )
        points = [point_of(record) for record in records]
        pairs = [(point, point.payload.get(OURS)) for point in points]
        return pairs, None if following is None else str(following)

    async def adopt(self, points: Sequence[Point], changed: Sequence[Point]) -> None:
        """Keep what is ours of some points, and delete our vectors of those that have changed.

        Args:
            points: by their own ids, with what `record_of` gives as payload.
            changed: those among them whose vectors are of another text.
        """
        names = [name for name in await self.vectors() if name in await self._our_vectors()]
        stale = {point.id for point in changed} if names else set()
        for shard, batch in by_shard(points):
            operations: list[Any] = []
            for point in batch:
                operations.append(_setting(point.id, {OURS: point.payload}, shard))
                if point.id in stale:
                    gone = models.DeleteVectors(
                        points=[_number(point.id)], vector=names, shard_key=shard
                    )
                    operations.append(models.DeleteVectorsOperation(delete_vectors=gone))
            await self._call(f"adopt {len(batch)} points", "batch_update_points", operations)

    async def _our_vectors(self) -> set[str]:
        entries = (await self.read_registry()).values()
        return {str(one["vector"]) for one in entries if isinstance(one, dict) and "vector" in one}

    # What a collection asks for, by its own ids and under its own keys.

    async def count(self, where: Where | None = None, *, lacking: Sequence[str] = ()) -> int:
        """Count the adopted points that fit."""
        await make_way(self, where)
        return await super().count(_ours(where), lacking=lacking)

    async def scroll(
        self,
        keys: Sequence[str],
        *,
        limit: int,
        after: str | None = None,
        where: Where | None = None,
        lacking: Sequence[str] = (),
        vectors: Sequence[str] = (),
    ) -> tuple[list[Point], str | None]:
        """Return adopted points as `count` counts them, in the order of their own ids."""
        await make_way(self, where)
        found, following = await super().scroll(
            _paths(keys),
            limit=limit,
            after=_number(after),
            where=_ours(where),
            lacking=lacking,
            vectors=vectors,
        )
        return [self._translated(point) for point in found], following

    async def retrieve(
        self, ids: Sequence[str], keys: Sequence[str], *, vectors: Sequence[str] = ()
    ) -> dict[str, Point]:
        """Return those of the ids that are stored, with these payload keys and vectors."""
        theirs = await self._find(ids)
        found = await super().retrieve(list(theirs.values()), _paths(keys), vectors=vectors)
        adopted = (point for point in found.values() if point.payload.get(OURS))
        translated = (self._translated(point) for point in adopted)
        return {point.id: point for point in translated}

    async def upsert(self, points: Sequence[Point]) -> None:
        """Write points with their vectors; vectors of other libraries stay as they are."""
        theirs = [_place_of(str(point.payload[ID]), point.id) for point in points]
        there = await self._call(
            f"read {len(points)} points", "retrieve", theirs, with_payload=True
        )
        old = {str(record.id): dict(record.payload or {}) for record in there}
        fresh = [
            replace(point, id=name, payload=self._payload(point))
            for point, name in zip(points, theirs, strict=True)
            if str(name) not in old
        ]
        await super().upsert(fresh)
        await self._rewrite(
            [
                (point, name, old[str(name)])
                for point, name in zip(points, theirs, strict=True)
                if str(name) in old
            ]
        )

    async def overwrite_payload(self, points: Sequence[Point]) -> None:
        """Write what is kept of stored points, in either layout, and leave their vectors."""
        theirs = [_place_of(str(point.payload[ID]), point.id) for point in points]
        there = await self._call(
            f"read {len(points)} points", "retrieve", theirs, with_payload=True
        )
        old = {str(record.id): dict(record.payload or {}) for record in there}
        await self._rewrite(
            [
                (replace(point, vectors={}), name, old[str(name)])
                for point, name in zip(points, theirs, strict=True)
                if str(name) in old
            ]
        )

    async def _rewrite(self, changes: Sequence[tuple[Point, str, dict[str, Any]]]) -> None:
        """Write points over what is there, each with its id and the payload it has."""
        was = {point.id: (name, payload) for point, name, payload in changes}
        for shard, batch in by_shard([point for point, _, _ in changes]):
            operations: list[Any] = []
            for point in batch:
                name, before = was[point.id]
                payload = self._payload(point)
                if self.layout is not None and (read := self.layout.read(str(name), before)):
                    # Metadata that stands in the payload itself is not replaced as a whole.
                    gone = sorted(self.layout.written(read).keys() - payload.keys())
                    deleting = models.DeletePayload(keys=gone, points=[name], shard_key=shard)
                    if gone:
                        operations.append(models.DeletePayloadOperation(delete_payload=deleting))
                operations.append(_setting(name, payload, shard))
                if point.vectors:
                    vectors = models.PointVectors(id=name, vector=lists_of(point))
                    updating = models.UpdateVectors(points=[vectors], shard_key=shard)
                    operations.append(models.UpdateVectorsOperation(update_vectors=updating))
            await self._call(f"write {len(batch)} points", "batch_update_points", operations)

    async def fill_vectors(self, points: Sequence[Point], names: Sequence[str]) -> None:
        """Write vectors to stored points that still lack any of `names`; leave all else."""
        await super().fill_vectors(await self._as_theirs(points), names)

    async def clear_vectors(self, points: Sequence[Point], names: Sequence[str]) -> None:
        """Delete these vectors from these points."""
        await super().clear_vectors(await self._as_theirs(points), names)

    async def delete(self, points: Sequence[Point]) -> None:
        """Delete points, with all that other libraries keep there."""
        await super().delete(await self._as_theirs(points))

    async def search(self, request: SearchRequest) -> list[FoundPoint]:
        """Return the points that fit best, best first; only adopted ones have our vectors."""
        await make_way(self, request.where)
        where = None if request.where is None else _placed(request.where)
        found = await super().search(replace(request, where=where))
        return [
            replace(point, id=point.payload[OURS][POINT], payload=point.payload[OURS])
            for point in found
            if OURS in point.payload
        ]

    async def indexed_fields(self) -> dict[str, str]:
        """Return the kind of index of every path of ours that has one."""
        found = await super().indexed_fields()
        prefix = f"{OURS}."
        return {
            path.removeprefix(prefix): kind
            for path, kind in found.items()
            if path.startswith(prefix)
        }

    async def index_fields(self, fields: Mapping[str, FieldKind]) -> None:
        """Create payload indexes where there are none yet."""
        have = await self.indexed_fields()
        missing = {path: kind for path, kind in fields.items() if path not in have}
        await super().index_fields({f"{OURS}.{path}": kind for path, kind in missing.items()})

    async def drop_index(self, path: str) -> None:
        """Delete a payload index of ours."""
        await super().drop_index(f"{OURS}.{path}")

    def _payload(self, point: Point) -> dict[str, Any]:
        """Return a point's payload in their layout and in ours."""
        theirs = {} if self.layout is None else self.layout.written(document_of(point.payload))
        return theirs | {OURS: point.payload | {POINT: point.id}}

    def _translated(self, point: Point) -> Point:
        payload = dict(point.payload[OURS])
        own = str(payload.pop(POINT))
        self._remember(own, point.id)
        return replace(point, id=own, payload=payload)

    def _remember(self, own: str, theirs: str) -> None:
        while len(self._theirs) >= REMEMBERED:
            del self._theirs[next(iter(self._theirs))]
        self._theirs[own] = theirs

    async def _find(self, ids: Iterable[str]) -> dict[str, str]:
        """Return the ids that points have here, by those that a collection goes by."""
        wanted = list(dict.fromkeys(ids))
        found = {own: self._theirs[own] for own in wanted if own in self._theirs}
        unknown = [own for own in wanted if own not in found]
        if unknown:
            parts = tuple(_Own("equals", POINT, own) for own in unknown)
            after: str | None = None
            while True:
                points, after = await super().scroll(
                    _paths([ID]), limit=len(unknown), after=after, where=Where("any", parts=parts)
                )
                found |= {str(point.payload[OURS][POINT]): point.id for point in points}
                if after is None:
                    break
                after = _number(after)
        return {own: _number(theirs) for own, theirs in found.items()}

    async def _as_theirs(self, points: Sequence[Point]) -> list[Point]:
        found = await self._find(point.id for point in points)
        return [replace(point, id=found[point.id]) for point in points if point.id in found]


def record_of(document: Document) -> dict[str, Any]:
    """Return what is kept of an adopted document."""
    return payload_of(document) | {POINT: point_id(document.id)}


def _placed(where: Where) -> Where:
    """Return a condition as it is asked of what is kept here."""
    if where.parts:
        return Where(where.kind, parts=tuple(_placed(part) for part in where.parts))
    if where.kind == "ids":
        ids = where.value if isinstance(where.value, tuple) else ()
        return Where("any", parts=tuple(_Own("equals", POINT, point_id(one)) for one in ids))
    return _Placed(where.kind, where.key, where.value, where.bounds)


def _ours(where: Where | None) -> Where:
    adopted = _Own("exists", POINT)
    return adopted if where is None else Where("all", parts=(adopted, _placed(where)))


def _paths(keys: Sequence[str]) -> list[str]:
    return [f"{OURS}.{key}" for key in (*keys, POINT)]


def _place_of(document_id: str, own: str) -> str:
    """Return the id of a document's point: its own where Qdrant takes it for one."""
    try:
        if str(uuid.UUID(document_id)) == document_id:
            return document_id
    except ValueError:
        pass
    return _number(document_id) if _number(document_id) != document_id else own


def _number(id: Any) -> Any:
    """Return the id of a point as Qdrant takes it: those of digits are numbers there."""
    if isinstance(id, str) and id.isdecimal() and id.isascii() and int(id) < LARGEST_NUMBER:
        return int(id) if str(int(id)) == id else id
    return id


def _setting(id: str, payload: dict[str, Any], shard: str | None) -> models.SetPayloadOperation:
    setting = models.SetPayload(payload=payload, points=[_number(id)], shard_key=shard)
    return models.SetPayloadOperation(set_payload=setting)
