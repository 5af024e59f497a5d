"""Adoption: a collection of LangChain's or LlamaIndex's gets views beside its vectors.

Every point with a text becomes a document, whose id is the point's own; its vectors and payload
stay, and what is ours is added (see `adopted.py`). Points are read a page at a time, and one that
is adopted already and has not changed costs nothing. So an interrupted adoption is finished by the
same call, and one made later takes in what was written meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from inbedder_retrieval.collection.adopted import POINT, AdoptedEngine, record_of
from inbedder_retrieval.collection.backfill import fill
from inbedder_retrieval.collection.client import ClientEngine
from inbedder_retrieval.collection.connection import Connection
from inbedder_retrieval.collection.engine import Engine, Point
from inbedder_retrieval.collection.layouts import Layout, found_layout
from inbedder_retrieval.collection.lifecycle import add_views, check_questions, sweep
from inbedder_retrieval.collection.registry import ADOPTED_KEY, COLLECTION_KEY, Registry
from inbedder_retrieval.collection.schema import HASH, ID, as_json, document_of
from inbedder_retrieval.collection.store import Known, Store
from inbedder_retrieval.documents import Document
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.embeddings import TextEmbedder
from inbedder_retrieval.errors import CollectionExists, InputError
from inbedder_retrieval.views import Views

__all__ = ["adopt_collection", "as_adopted"]

PAGE_POINTS = 256
Progress = Callable[[int, int], None]


async def adopt_collection(
    location: str | Path,
    views: Views | None = None,
    embedder: TextEmbedder | None = None,
    *,
    name: str | None = None,
    layout: Layout | None = None,
    connection: Connection | None = None,
    progress: Progress | None = None,
) -> Store:
    """Adopt the points of another library's collection, and return a store over it.

    Args:
        location: a Qdrant server's `http://host:6333/name`, or a folder of qdrant-client's local
            mode.
        views: the questions; None where the collection was adopted before.
        embedder: what embeds; None takes the packaged model, or that of the views there are.
        name: the collection's name in a folder.
        layout: how payloads are laid out; None finds it by the first point.
        progress: called with the numbers of documents embedded and to be embedded.

    Raises:
        CollectionNotFound: there is no such collection.
        CollectionExists: it is one of this package already.
        InputError: it holds no point, or none of either library; or no view is given.
        DocumentError: a point's metadata cannot be kept. Pages before it are adopted.
        ViewError, ModelMismatch: there are views already that ask something else, or are of
            another model.
        EngineError: the engine refused. The same call goes on from there.
    """
    engine = AdoptedEngine.at(location, name, connection)
    try:
        store = await _begun(engine, str(location), views, embedder, layout)
        await engine.index_fields({POINT: "keyword"})
        await _adopt_points(engine, engine.layout or await _layout(engine, str(location)))
        await add_views(store, views or store.registry.views, progress=progress)
        # Those that came since the views were built lack them.
        await fill(store, store.registry.written, progress=progress)
    except BaseException:
        await engine.close()
        raise
    return store


def as_adopted(engine: Engine, entries: Mapping[str, Any]) -> Engine:
    """Return the engine that reads a collection with these registry entries.

    It is the one given, unless the collection was adopted.
    """
    if entries.get(ADOPTED_KEY) is None or not isinstance(engine, ClientEngine):
        return engine
    return AdoptedEngine.over(engine, Layout.model_validate(entries[ADOPTED_KEY]))


async def _begun(
    engine: AdoptedEngine,
    location: str,
    views: Views | None,
    embedder: TextEmbedder | None,
    layout: Layout | None,
) -> Store:
    """Return a store over a collection that has a registry, from now on if not before."""
    entries = await engine.read_registry()
    if COLLECTION_KEY not in entries:
        if views is None:
            raise InputError(
                f"{location} has no views yet; name them, such as "
                "{'feeling': 'How does the customer feel?'}"
            )
        embedder = Embedder() if embedder is None else embedder
        embedder.embed([], views)
        engine.layout = layout or await _layout(engine, location)
        fresh = Registry.new(views, embedder)
        building = {one.name: one.model_copy(update={"state": "building"}) for one in fresh.written}
        registry = fresh.model_copy(update={"records": building})
        await engine.add_vectors({one.vector: one.dimension for one in registry.written})
        adopted = {ADOPTED_KEY: engine.layout.model_dump()}
        await engine.write_registry(registry.entries() | adopted)
    elif entries.get(ADOPTED_KEY) is None:
        raise CollectionExists(f"{location} is a collection of this package already; open it")
    else:
        engine.layout = Layout.model_validate(entries[ADOPTED_KEY])
        registry = Registry.from_entries(entries, location)
        check_questions(registry, views or (), location)
    store = Store(location, engine, Known(registry))
    if embedder is not None:
        store.use(embedder)
    await sweep(store)
    return store


async def _layout(engine: AdoptedEngine, location: str) -> Layout:
    found, _ = await engine.page(1, None)
    if not found:
        raise InputError(
            f"{location} holds no points, so there is nothing to adopt; create a collection, or "
            "give its layout"
        )
    return found_layout(found[0][0].payload, location)


async def _adopt_points(engine: AdoptedEngine, layout: Layout) -> None:
    after: str | None = None
    while True:
        found, after = await engine.page(PAGE_POINTS, after)
        points: list[Point] = []
        changed: list[Point] = []
        for point, kept in found:
            document = layout.read(point.id if kept is None else kept[ID], point.payload)
            if document is None:
                continue
            if kept is not None:
                before = document_of(kept)
                # Their payload may not hold all that is kept here: it is asked only whether it is
                # still the one that goes with it.
                own = layout.read(before.id, layout.written(before))
                if own is not None and as_json(record_of(own)) == as_json(record_of(document)):
                    continue
                notes = before.notes | document.notes
                document = Document(document.text, document.id, document.metadata, notes)
            record = record_of(document)
            new = Point(point.id, record, shard=point.shard)
            points.append(new)
            if kept is not None and kept.get(HASH) != record[HASH]:
                changed.append(new)
        if points:
            await engine.adopt(points, changed)
        if after is None:
            return
