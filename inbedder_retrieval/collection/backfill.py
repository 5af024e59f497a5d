"""Backfill: questions added to a collection that holds documents already.

A new view's named vector is made first, under a name that was never used; then the registry lists
the view as `building`; then the documents that lack it are embedded and filled in, a bounded batch
at a time; then it is `ready`. What was interrupted is finished by adding the same views once more,
also by another process. Documents added meanwhile get every view of the registry at once, and a
vector that somebody else has written is left alone.
"""

from __future__ import annotations

from collections.abc import Callable

from inbedder_retrieval.collection.engine import Engine, Point
from inbedder_retrieval.collection.schema import HASH, TEXT, Registry
from inbedder_retrieval.embeddings import TextEmbedder, check_finite
from inbedder_retrieval.errors import EngineError
from inbedder_retrieval.views import Views

__all__ = ["begin_views", "drop_view", "fill_views"]

BATCH_DOCUMENTS = 512


def begin_views(
    engine: Engine, registry: Registry, views: Views, embedder: TextEmbedder
) -> Registry:
    """Register views as building and make their vectors; return the registry with them.

    Views that are there already are left as they are, building or ready.
    """
    added = registry.with_views(
        views,
        model=embedder.name,
        fingerprint=embedder.fingerprint,
        dimension=embedder.dimension,
    )
    # In this order: a view that is listed has its vector, and every writer fills it.
    engine.add_vectors(
        {
            record.vector: record.dimension
            for name, record in added.records.items()
            if name not in registry.records
        }
    )
    engine.write_registry(added.entries())
    return added


def fill_views(
    engine: Engine,
    registry: Registry,
    embedder: TextEmbedder,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Registry, int]:
    """Embed every document under the building views it lacks, and mark these ready.

    Args:
        progress: called after each batch with the number of documents filled and still lacking
            when this began.

    Returns:
        The registry, and how many documents were filled.

    Raises:
        EngineError: the engine refused. What is filled stays; the same call goes on from there.
        ModelError: a vector is not finite.
    """
    building = [record for record in registry.records.values() if record.state == "building"]
    if not building:
        return registry, 0
    names = [record.vector for record in building]
    views = Views(record.view for record in building)
    filled, total = 0, engine.count_lacking(names)
    lacking = total
    while lacking:
        before = filled
        after: str | None = None
        while True:
            found, after = engine.lacking(names, [TEXT, HASH], limit=BATCH_DOCUMENTS, after=after)
            if found:
                _fill(engine, embedder, found, names, views)
                engine.flush()
                filled += len(found)
                if progress is not None:
                    progress(filled, max(total, filled))
            if after is None:
                break
        lacking = engine.count_lacking(names)
        if lacking and filled == before:
            raise EngineError(
                f"{lacking} documents lack a vector of {', '.join(names)} and "
                "cannot be listed; add the view again when the engine has recovered"
            )
    ready = registry.ready([record.name for record in building])
    engine.write_registry(ready.entries())
    return ready, filled


def _fill(
    engine: Engine, embedder: TextEmbedder, points: list[Point], names: list[str], views: Views
) -> None:
    embeddings = embedder.embed([point.payload[TEXT] for point in points], views)
    check_finite(embeddings, embedder.name)
    by_vector = dict(zip(names, views.names, strict=True))
    engine.fill_vectors(
        [
            Point(point.id, {}, {name: embeddings[view][row] for name, view in by_vector.items()})
            for row, point in enumerate(points)
        ],
        names,
    )
    # A writer that does not know these views yet may have changed a text meanwhile: what was
    # filled is of the old one, and has to be filled again.
    now = engine.retrieve([point.id for point in points], [HASH])
    stale = [
        point.id
        for point in points
        if point.id in now and now[point.id].get(HASH) != point.payload[HASH]
    ]
    if stale:
        engine.clear_vectors(stale, names)


def drop_view(engine: Engine, registry: Registry, name: str) -> Registry:
    """Forget a view, then delete its vectors; return the registry without it."""
    record = registry.record(name)
    left = registry.without(name)
    # In this order: a view that is listed has its vector.
    engine.write_registry(left.entries())
    engine.drop_vector(record.vector)
    engine.flush()
    return left
