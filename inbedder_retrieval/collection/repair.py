"""Repair: what is wrong with a collection is found first, and mended only when that is asked.

What no crash and no call of this package leaves behind may come from elsewhere: another tool that
wrote to the server, a file put back from an old copy, two programs that added one view at a time.
A repair keeps every document it can read. What it does not know is left, unless it is told to
delete it: a named vector that no view lists, a point that holds no document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from inbedder_retrieval.collection.backfill import fill
from inbedder_retrieval.collection.contents import get_documents
from inbedder_retrieval.collection.engine import Point
from inbedder_retrieval.collection.index import add_documents
from inbedder_retrieval.collection.lifecycle import finish_views, sweep
from inbedder_retrieval.collection.registry import (
    ADOPTED_KEY,
    VIEW_KEY,
    Registry,
    ViewRecord,
    fresh_name,
)
from inbedder_retrieval.collection.schema import (
    EXACT,
    HASH,
    ID,
    METADATA,
    TEXT,
    document_of,
    holds_document,
    point_id,
    text_hash,
)
from inbedder_retrieval.collection.store import Store
from inbedder_retrieval.documents import Document
from inbedder_retrieval.errors import InputError

__all__ = ["Findings", "examine", "repair"]

BATCH_POINTS = 1_000
PAYLOAD = [ID, TEXT, HASH, METADATA, EXACT]


class Findings(BaseModel):
    """What is wrong with a collection.

    Attributes:
        documents: how many there are.
        unfinished: views that are being built or rebuilt. A repair finishes them, which another
            program may be doing.
        dropped: named vectors of dropped views. A repair deletes them.
        strays: entries of the registry that stand for no view, such as a second one of the same
            name. A repair removes them.
        missing: views whose named vector does not exist, or has another width. A repair makes it
            anew and embeds every document.
        lacking: how many documents lack the vector of a view. A repair embeds them.
        edited: ids of documents whose text is not the one that was embedded. A repair embeds them.
        misplaced: points that are not stored under the id of their document, where it is not
            found. A repair moves them; one whose place is taken is left.
        orphans: named vectors that no view lists. A repair leaves them unless told to delete.
        foreign: points that hold no document, likewise.
    """

    documents: int = 0
    unfinished: list[str] = []
    dropped: list[str] = []
    strays: list[str] = []
    missing: list[str] = []
    lacking: dict[str, int] = {}
    edited: list[str] = []
    misplaced: list[str] = []
    orphans: list[str] = []
    foreign: list[str] = []

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return self == Findings(documents=self.documents)


async def examine(store: Store) -> Findings:
    """Look at the registry, the named vectors and every document; nothing is written.

    Raises:
        CollectionError: the registry cannot be read.
        EngineError: the engine refused.
    """
    entries = await store.engine.read_registry()
    registry = Registry.from_entries(entries, store.location)
    have = await store.engine.vectors()
    findings = Findings(
        unfinished=[record.name for record in registry.written if record.state == "building"],
        dropped=sorted(registry.dropped),
        strays=sorted(_strays(registry, entries)),
        missing=[one.name for one in registry.written if have.get(one.vector) != one.dimension],
        orphans=_orphans(registry, entries, have),
    )
    await _look_at_points(store, findings)
    await _count_lacking(store, registry, have, findings)
    return findings


def _orphans(registry: Registry, entries: Mapping[str, Any], have: Mapping[str, int]) -> list[str]:
    if entries.get(ADOPTED_KEY) is not None:
        # Another library's vectors are not known here, and are not ours to delete.
        return []
    listed = {record.vector for record in [*registry.written, *registry.dropped.values()]}
    return sorted(have.keys() - listed)


async def _look_at_points(store: Store, findings: Findings) -> None:
    after: str | None = None
    while True:
        found, after = await store.engine.scroll(PAYLOAD, limit=BATCH_POINTS, after=after)
        for point in found:
            document = _document(point)
            if document is None:
                findings.foreign.append(point.id)
                continue
            findings.documents += 1
            if point.id != point_id(document.id):
                findings.misplaced.append(point.id)
            elif point.payload.get(HASH) != text_hash(document.text):
                findings.edited.append(document.id)
        if after is None:
            return


async def _count_lacking(
    store: Store, registry: Registry, have: Mapping[str, int], findings: Findings
) -> None:
    there = [
        one
        for one in registry.written
        if one.state == "ready" and have.get(one.vector) == one.dimension
    ]
    names = [record.vector for record in there]
    # Points that hold no document lack them too, and nobody misses that.
    foreign = await store.engine.retrieve(findings.foreign, [], vectors=names)
    for record in there:
        lacking = await store.engine.count(lacking=[record.vector])
        lacking -= sum(record.vector not in point.vectors for point in foreign.values())
        if lacking:
            findings.lacking[record.name] = lacking


async def repair(store: Store, findings: Findings, *, delete: bool = False) -> Findings:
    """Mend what was found, and return what is wrong still.

    Args:
        delete: also delete what is not known: orphans, foreign points, misplaced ones whose place
            is taken.

    Raises:
        InputError: the findings are none.
        ModelMismatch, CheckpointError: the model of the views is not here; nothing is embedded.
        EngineError: the engine refused. What is mended stays; the same call goes on from there.
    """
    if not isinstance(findings, Findings):
        raise InputError(f"findings is {findings!r}; give what check() returns")
    entries = await store.engine.read_registry()
    if strays := _strays(Registry.from_entries(entries, store.location), entries):
        await store.engine.write_registry(strays)
    have = await store.engine.vectors()
    await store.change(lambda registry: _with_vectors(registry, have))
    await sweep(store)
    await _move(store, findings.misplaced, delete)
    await add_documents(store, await get_documents(store, findings.edited))
    lacking = [one for one in (await store.refresh()).written if one.name in findings.lacking]
    if lacking:
        await fill(store, [record for record in lacking if record.state == "ready"])
    await finish_views(store)
    if delete:
        # Asked anew: somebody may have made a view since.
        entries = await store.engine.read_registry()
        now = Registry.from_entries(entries, store.location)
        orphans = _orphans(now, entries, await store.engine.vectors())
        await store.engine.drop_vectors([name for name in orphans if name in findings.orphans])
        foreign = await store.engine.retrieve(findings.foreign, [])
        await store.engine.delete(list(foreign.values()))
    await store.engine.flush()
    return await examine(store)


async def _move(store: Store, ids: list[str], delete: bool) -> None:
    points = await store.engine.retrieve(ids, PAYLOAD)
    for name in ids:
        document = _document(points[name]) if name in points else None
        if document is None:
            continue
        place = point_id(document.id)
        taken = place in await store.engine.retrieve([place], [ID])
        if not taken:
            await add_documents(store, [document])
        if delete or not taken:
            await store.engine.delete([points[name]])


def _document(point: Point) -> Document | None:
    """Return the document that a point holds, or None where it holds none."""
    payload: dict[str, Any] = point.payload
    if not holds_document(payload):
        return None
    try:
        return document_of(payload)
    except (InputError, KeyError, TypeError, ValueError):
        return None


def _strays(registry: Registry, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to change in the entries of a registry so that they hold it and nothing else."""
    own = registry.entries()
    lost = {key: value for key, value in own.items() if key not in entries}
    return lost | {
        key: None
        for key, value in entries.items()
        if key.startswith(VIEW_KEY) and value is not None and key not in own
    }


def _with_vectors(registry: Registry, have: Mapping[str, int]) -> Registry:
    """Return the registry with new vectors, to be built, for views whose own are not there.

    What was to take the place of a view, and has no vector, is given up.
    """

    def fits(record: ViewRecord) -> bool:
        return have.get(record.vector) == record.dimension

    def mended(record: ViewRecord) -> ViewRecord:
        # A name that was never used: an engine's log may hold the deletion of an older one.
        anew = {"vector": fresh_name(record.vector), "state": "building"}
        return record if fits(record) else record.model_copy(update=anew)

    changed = registry.model_copy(
        update={
            "records": {name: mended(one) for name, one in registry.records.items()},
            "successors": {name: one for name, one in registry.successors.items() if fits(one)},
        }
    )
    return changed.dropping(one for one in registry.written if one.vector in have and not fits(one))
