"""Indexing: documents become points, a bounded batch at a time.

A batch is written whole before the next is read, and a document that is already stored with the
same text is not embedded again. So an interrupted run is resumed by running it again, and a
second run of the same documents writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from inbedder_retrieval.collection.engine import Point
from inbedder_retrieval.collection.paths import value_at
from inbedder_retrieval.collection.schema import (
    EXACT,
    HASH,
    METADATA,
    as_json,
    metadata_of,
    payload_of,
    point_id,
)
from inbedder_retrieval.collection.storage import Storage
from inbedder_retrieval.collection.store import Store
from inbedder_retrieval.documents import Document
from inbedder_retrieval.embeddings import Embeddings, OnLong
from inbedder_retrieval.errors import (
    DocumentError,
    EngineError,
    InputError,
    ServerUnavailable,
    TextError,
)

__all__ = ["IndexReport", "add_documents", "shard_of"]

BATCH_DOCUMENTS = 512
# What a batch of long texts may hold in memory.
BATCH_CHARACTERS = 4_000_000
# Batches share a flush where it takes long: it may take this share of the time,
FLUSH_SHARE = 0.05
# but what is not yet safe is never more than was written in so many seconds.
FLUSH_SECONDS = 2.0


class IndexReport(BaseModel):
    """What became of the documents that were added.

    Attributes:
        added: new ids.
        updated: known ids with another text; every view was embedded again.
        relabelled: known ids with the same text and other metadata; vectors were left.
        unchanged: known ids with the same text and metadata; nothing was written.
        duplicates: ids that came more than once; the last one counts.
        truncated: texts longer than the model reads, which were embedded by their beginning.
        empty: texts of nothing but white space, embedded all the same.
    """

    added: int = 0
    updated: int = 0
    relabelled: int = 0
    unchanged: int = 0
    duplicates: int = 0
    truncated: int = 0
    empty: int = 0

    @property
    def written(self) -> int:
        return self.added + self.updated + self.relabelled


async def add_documents(
    store: Store,
    documents: Iterable[Document],
    *,
    on_long: OnLong = "cut",
    progress: Callable[[int], None] | None = None,
) -> IndexReport:
    """Store documents under every view.

    Args:
        progress: called with the number of documents that are safely stored: after each batch, or
            after several where they are written faster than a disk takes them.

    Raises:
        DocumentError: an item is no Document. What came before its batch is stored.
        TextError: a text cannot be embedded, likewise.
        EngineError: the engine refused a batch, likewise.
        InputError: `on_long` is neither `cut` nor `error`.
    """
    if on_long not in get_args(OnLong):
        raise InputError(f"on_long is {on_long!r}; choose {' or '.join(get_args(OnLong))}")
    report = IndexReport()
    seen: set[str] = set()
    done = safe = 0
    took, flushed = 0.0, time.monotonic()

    async def flush() -> None:
        nonlocal safe, took, flushed
        start = time.monotonic()
        await store.engine.flush()
        safe, flushed = done, time.monotonic()
        took = flushed - start
        if progress is not None:
            progress(done)

    try:
        for batch in _batches(documents):
            latest = {document.id: document for document in batch}
            report.duplicates += len(batch) - len(latest) + len(seen & latest.keys())
            seen.update(latest)
            await _write(store, list(latest.values()), on_long, report)
            done += len(batch)
            if time.monotonic() - flushed >= min(took / FLUSH_SHARE, FLUSH_SECONDS):
                await flush()
    finally:
        # Also after an error: what came before it is to be stored.
        if safe < done:
            await flush()
    return report


async def _write(
    store: Store, documents: list[Document], on_long: OnLong, report: IndexReport
) -> None:
    registry = await store.refresh()
    shards = [shard_of(registry.storage, one.id, one.metadata) for one in documents]
    ids = [point_id(document.id) for document in documents]
    stored = await store.engine.retrieve(ids, [HASH, METADATA, EXACT])
    fresh: list[tuple[Document, Point]] = []
    relabelled: list[Point] = []
    moved: list[Point] = []
    for document, name, shard in zip(documents, ids, shards, strict=True):
        old = stored.get(name)
        point = Point(name, payload_of(document), shard=shard)
        elsewhere = old is not None and old.shard != shard
        if elsewhere:
            moved.append(Point(name, {}, shard=old.shard if old else None))
        if old is None or elsewhere or old.payload.get(HASH) != point.payload[HASH]:
            fresh.append((document, point))
        elif as_json(metadata_of(old.payload)) != as_json(metadata_of(point.payload)):
            relabelled.append(point)
    added = sum(point.id not in stored for _, point in fresh)
    report.added += added
    report.updated += len(fresh) - added
    report.relabelled += len(relabelled)
    report.unchanged += len(documents) - len(fresh) - len(relabelled)
    if fresh:
        await _embed_and_upsert(store, fresh, moved, on_long, report)
    await store.to_stored(store.engine.overwrite_payload, relabelled)


async def _embed_and_upsert(
    store: Store,
    fresh: list[tuple[Document, Point]],
    moved: list[Point],
    on_long: OnLong,
    report: IndexReport,
) -> None:
    texts = [document.text for document, _ in fresh]
    while True:
        registry = store.registry
        vectors = await store.embed(texts, registry.written)
        if vectors.truncated and on_long == "error":
            document = fresh[vectors.truncated[0]][0]
            raise TextError(
                f"document {document.id!r} is longer than {store.embedder().name} reads (it begins "
                f"{document.text[:40]!r}); split it, or let long texts be cut"
            )
        points = _with_vectors([point for _, point in fresh], vectors)
        try:
            # A server does not know that a point of another shard is the same one: it goes first,
            # since what is left behind there would be another tenant's to find.
            await store.engine.delete(moved)
            await store.engine.upsert(points)
            break
        except ServerUnavailable:
            raise
        except EngineError:
            # A view may have been dropped or rebuilt meanwhile; then all is written once more.
            if (await store.refresh()).written == registry.written:
                raise
    report.truncated += len(vectors.truncated)
    report.empty += len(vectors.empty)
    # Who adds a view fills what lacks it, once; what came after that is filled here.
    later = [one for one in (await store.refresh()).written if one.vector not in vectors]
    if later:
        names = [record.vector for record in later]
        found = await store.embed(texts, later)
        if found:
            names = [name for name in names if name in found]
            await store.to_stored(
                lambda some: store.engine.fill_vectors(some, names), _with_vectors(points, found)
            )


def _with_vectors(points: Sequence[Point], vectors: Embeddings) -> list[Point]:
    names = list(vectors)
    # Split once a vector name, and not looked up row by row.
    rows = zip(*(list(vectors[name]) for name in names), strict=True)
    return [
        Point(point.id, point.payload, dict(zip(names, row, strict=True)), point.shard)
        for point, row in zip(points, rows, strict=True)
    ]


def shard_of(storage: Storage, name: str, metadata: Mapping[str, Any]) -> str | None:
    """Return the shard key of the document with an id, or None where shards have no keys.

    Raises:
        DocumentError: documents are parted by tenant, and it has none.
    """
    if storage.tenant is None:
        return None
    tenant = value_at(metadata, storage.tenant)
    if not isinstance(tenant, str) or not tenant:
        raise DocumentError(
            f"document {name!r} has {storage.tenant}={tenant!r}; the collection parts its "
            f"documents by {storage.tenant!r}, so every document needs it, as text"
        )
    return tenant if storage.shard_per_tenant else None


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    characters = 0
    for document in documents:
        if not isinstance(document, Document):
            raise DocumentError(
                f"a document is {type(document).__name__}; "
                "give Document objects, such as Document('a text', id='7')"
            )
        full = len(batch) == BATCH_DOCUMENTS or characters + len(document.text) > BATCH_CHARACTERS
        if batch and full:
            yield batch
            batch, characters = [], 0
        batch.append(document)
        characters += len(document.text)
    if batch:
        yield batch
