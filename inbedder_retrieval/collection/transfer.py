"""Transfer: what an origin has is written to an engine, page by page, until both have the same.

A copy is marked in its registry until it is whole, and cannot be opened before. The same call goes
on with it, also in another process: what is there as it is in the origin is passed over.

Others may write to the origin meanwhile. At the end both sides are counted: where the counts
differ, what was added is copied and what was deleted is deleted, a few times over; where they still
differ, the call raises, and the copy is not whole. A text that was edited after its turn came is
copied as it was then.

A view that is being built is copied as it is: adding it again finishes it. One that is being built
in another's place is left out. Of the payload, what this package wrote is copied.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from inbedder_retrieval.collection.connection import Connection
from inbedder_retrieval.collection.engine import Engine, Point
from inbedder_retrieval.collection.filters import FieldKind, Where
from inbedder_retrieval.collection.index import shard_of
from inbedder_retrieval.collection.location import MEMORY, create_engine, is_server, open_engine
from inbedder_retrieval.collection.origin import (
    CopyReport,
    Origin,
    check_room,
    report_of,
    resolved,
)
from inbedder_retrieval.collection.registry import Registry, Unfinished
from inbedder_retrieval.collection.schema import EXACT, HASH, ID, METADATA, as_json, metadata_of
from inbedder_retrieval.collection.storage import Storage
from inbedder_retrieval.collection.store import Known, Store
from inbedder_retrieval.errors import (
    CollectionError,
    CollectionExists,
    CollectionNotFound,
    EngineError,
    InputError,
)

__all__ = ["Progress", "transfer"]

# How often what others wrote meanwhile is looked for.
ROUNDS = 3
BATCH_POINTS = 1_000
KINDS = ("keyword", "float", "bool", "datetime")

Progress = Callable[[int, int], None]


async def transfer(
    origin: Origin,
    target: str | Path,
    storage: Storage | None,
    connection: Connection | None,
    progress: Progress | None,
) -> tuple[Store, CopyReport]:
    """Write an origin to a target, and return the copy, open, when both have the same.

    Args:
        storage: how the copy keeps its vectors; None keeps them as the origin does.
        progress: called after each page with the numbers of documents done and to be done.

    Raises:
        CollectionExists: the target is taken, and is no unfinished copy of this origin.
        CollectionError: views were dropped or rebuilt meanwhile.
        DocumentError: a document lacks the tenant that the storage parts them by.
        InputError: the storage cannot be had there, or is another than the copy was begun with.
        EngineError: an engine refused, or others write to the origin without end.
    """
    begun = origin.registry.model_copy(
        update={
            "successors": {},
            "dropped": {},
            "storage": _storage(storage, origin.registry.storage, target),
            "unfinished": Unfinished(source=resolved(origin.location), identity=origin.identity),
        }
    )
    total = await origin.count()
    engine, compare = await _begin(begun, target, storage, connection, total)
    try:
        registry = Registry.from_entries(
            await engine.read_registry(), str(target), allow_unfinished=True
        )
        tenant = registry.storage.tenant
        if tenant is not None:
            await engine.index_fields({Where.field(tenant).path: "tenant"})
        store = Store(str(target), engine, Known(registry))
        report = await _fill(origin, store, compare, total, progress)
        kinds = {path: kind for path, kind in origin.indexes.items() if kind in KINDS}
        await engine.index_fields(cast("Mapping[str, FieldKind]", kinds))
        await engine.flush()
        await origin.check()
        whole = registry.model_copy(update={"unfinished": None})
        await engine.write_registry(whole.changes(registry))
        store.known.learn(whole, store.known.moment())
    except BaseException:
        await engine.close()
        raise
    return store, report


async def _begin(
    begun: Registry,
    target: str | Path,
    storage: Storage | None,
    connection: Connection | None,
    total: int,
) -> tuple[Engine, bool]:
    """Create the copy, or open what there is of it.

    Returns the engine, and whether what is there already may be passed over.
    """
    widths = {record.vector: record.dimension for record in begun.written}
    try:
        if not is_server(target) and str(target) != MEMORY and not Path(target).exists():
            check_room(Path(target), begun, total)
        return create_engine(
            target, widths, begun.entries(), storage=begun.storage, connection=connection
        ), False
    except CollectionExists as error:
        try:
            engine = open_engine(target, connection=connection)
        except CollectionNotFound:
            raise error from None
        try:
            return engine, await _resume(engine, begun, target, storage)
        except BaseException:
            await engine.close()
            raise


async def _resume(
    engine: Engine, begun: Registry, target: str | Path, storage: Storage | None
) -> bool:
    """Make an unfinished copy ready to be gone on with.

    Returns whether what is there may be passed over where its text and metadata are the same.

    Raises:
        CollectionExists: it is a collection of its own, or a copy of another.
    """
    entries = await engine.read_registry()
    try:
        before = Registry.from_entries(entries, str(target), allow_unfinished=True)
    except CollectionError as error:
        raise CollectionExists(f"{target} is taken ({error}); give another name") from error
    mine, found = begun.unfinished, before.unfinished
    if found is None or mine is None or found.identity != mine.identity:
        what = "a collection" if found is None else f"an unfinished copy of {found.source}"
        raise CollectionExists(
            f"{target} already holds {what}; give a place that is free, or delete what is there"
        )
    if storage is not None and begun.storage != before.storage:
        raise InputError(
            f"the copy at {target} was begun with other storage; leave the storage as it was, or "
            "delete the copy"
        )
    now = begun.model_copy(update={"storage": before.storage})
    if {record.vector: record for record in now.written} != {
        record.vector: record for record in before.written
    }:
        # Views have changed since: what is there lacks vectors, or has others.
        await _empty(engine)
        widths = {record.vector: record.dimension for record in now.written}
        have = await engine.vectors()
        await engine.drop_vectors([name for name in have if name not in widths])
        await engine.add_vectors({name: widths[name] for name in widths if name not in have})
        await engine.flush()
    await engine.write_registry(now.changes(before))
    # What a view that is being built lacked then it may have now.
    return all(record.state == "ready" for record in now.written)


async def _empty(engine: Engine) -> None:
    while True:
        points, _ = await engine.scroll([ID], limit=BATCH_POINTS)
        if not points:
            return
        await engine.delete(points)


async def _fill(
    origin: Origin, store: Store, compare: bool, total: int, progress: Progress | None
) -> CopyReport:
    """Write until the copy has the documents of the source, and no others."""
    report = report_of(origin, store.location, documents=0)
    async for written, present in _write_pages(origin, store, compare):
        report.written += written
        report.present += present
        done = report.written + report.present
        if progress is not None:
            progress(done, max(total, done))
    for _ in range(ROUNDS):
        # All that are there are the source's then: as many of them are the same ones.
        report.removed += await _remove_gone(origin, store.engine)
        report.documents, wanted = await store.engine.count(), await origin.count()
        if report.documents == wanted:
            return report
        async for written, _ in _write_pages(origin, store, True):
            report.written += written
    raise EngineError(
        f"{origin.location} holds {wanted} documents and the copy at {store.location} "
        f"{report.documents}: others write to one of them, or an id is there twice. The same call "
        "goes on when they do not"
    )


async def _write_pages(
    origin: Origin, store: Store, compare: bool
) -> AsyncIterator[tuple[int, int]]:
    """Write page by page; yield how many were written and how many were there as they are."""
    after: str | None = None
    while True:
        found, after = await origin.page(after)
        points = [_placed(point, store.registry.storage) for point in found]
        fresh = await _differing(store.engine, points) if compare else points
        await store.engine.upsert(fresh)
        await store.engine.flush()
        yield len(fresh), len(points) - len(fresh)
        if after is None:
            return


def _placed(point: Point, storage: Storage) -> Point:
    metadata = metadata_of(point.payload)
    shard = shard_of(storage, point.payload[ID], metadata)
    return replace(point, payload=point.payload | {METADATA: metadata}, shard=shard)


async def _differing(engine: Engine, points: Sequence[Point]) -> list[Point]:
    """Return the points that are not stored as they are here."""
    stored = await engine.retrieve([point.id for point in points], [HASH, METADATA, EXACT])
    moved = [
        stored[point.id]
        for point in points
        if point.id in stored and stored[point.id].shard != point.shard
    ]
    await engine.delete(moved)
    same = {
        point.id
        for point in points
        if (old := stored.get(point.id)) is not None
        and old.shard == point.shard
        and old.payload.get(HASH) == point.payload.get(HASH)
        and as_json(metadata_of(old.payload)) == as_json(point.payload[METADATA])
    }
    return [point for point in points if point.id not in same]


async def _remove_gone(origin: Origin, engine: Engine) -> int:
    removed, after = 0, None
    while True:
        points, after = await engine.scroll([ID], limit=BATCH_POINTS, after=after)
        gone = await origin.gone(points)
        await engine.delete(gone)
        removed += len(gone)
        if after is None:
            return removed


def _storage(given: Storage | None, kept: Storage, target: str | Path) -> Storage:
    """Return how the copy keeps its vectors."""
    if given is not None:
        return given.model_copy(update={"tenant": given.tenant or kept.tenant})
    if is_server(target):
        return kept
    defaults = Storage()
    return kept.model_copy(update={name: getattr(defaults, name) for name in kept.for_server_only})
