"""Backfill: stored documents are embedded under the questions they lack.

A bounded batch at a time, each written only where the vector is still lacking: a vector that
somebody else has written is left alone, and what was interrupted goes on from there, also in
another process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from inbedder_retrieval.collection.engine import Point
from inbedder_retrieval.collection.registry import ViewRecord
from inbedder_retrieval.collection.schema import HASH, TEXT
from inbedder_retrieval.collection.store import Store
from inbedder_retrieval.errors import EngineError, ModelMismatch

__all__ = ["fill"]

BATCH_DOCUMENTS = 512


async def fill(
    store: Store,
    records: Sequence[ViewRecord],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Embed every document that lacks one of these vectors, until none does.

    Args:
        progress: called after each batch with the numbers of documents filled and to be filled.

    Returns:
        How many documents were filled.

    Raises:
        EngineError: the engine refused. What is filled stays; the same call goes on from there.
        ModelError: a vector is not finite.
    """
    names = [record.vector for record in records]
    filled, total = 0, await store.engine.count(lacking=names)
    lacking = total
    while lacking > 0:
        before, foreign = filled, 0
        after: str | None = None
        while True:
            points, after = await store.engine.scroll(
                [TEXT, HASH], limit=BATCH_DOCUMENTS, after=after, lacking=names
            )
            # Another program's points hold no text, and stay as they are.
            found = [point for point in points if isinstance(point.payload.get(TEXT), str)]
            foreign += len(points) - len(found)
            if found:
                await _fill(store, found, records)
                await store.engine.flush()
                filled += len(found)
                if progress is not None:
                    progress(filled, max(total, filled))
            if after is None:
                break
        lacking = await store.engine.count(lacking=names) - foreign
        if lacking > 0 and filled == before:
            raise EngineError(
                f"{lacking} documents lack a vector of {', '.join(names)} and "
                "cannot be listed; add the view again when the engine has recovered"
            )
    return filled


async def _fill(store: Store, points: list[Point], records: Sequence[ViewRecord]) -> None:
    vectors = await store.embed([point.payload[TEXT] for point in points], records)
    names = [record.vector for record in records]
    if len(vectors) < len(names):
        raise ModelMismatch(
            f"view {records[0].name!r} is being built with {records[0].model}, which is not the "
            "model here; go on where it was begun, or drop the view"
        )
    filled = [
        replace(point, payload={}, vectors={name: vectors[name][row] for name in names})
        for row, point in enumerate(points)
    ]
    await store.to_stored(lambda some: store.engine.fill_vectors(some, names), filled)
    # A writer that does not know these views yet may have changed a text meanwhile: what was
    # filled is of the old one, and has to be filled again.
    now = await store.engine.retrieve([point.id for point in points], [HASH])
    stale = [
        now[point.id]
        for point in points
        if point.id in now and now[point.id].payload.get(HASH) != point.payload.get(HASH)
    ]
    await store.to_stored(lambda some: store.engine.clear_vectors(some, names), stale)
