"""Indexing: documents become points, a bounded batch at a time.

A batch is written whole before the next is read, and a document that is already stored with the
same text is not embedded again. So an interrupted run is resumed by running it again, and a
second run of the same documents writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pydantic import BaseModel

from inbedder_retrieval.collection.engine import Engine, Point
from inbedder_retrieval.collection.schema import (
    EXACT,
    HASH,
    METADATA,
    Registry,
    as_json,
    metadata_of,
    payload_of,
    point_id,
    text_hash,
)
from inbedder_retrieval.documents import Document
from inbedder_retrieval.embeddings import OnLong, TextEmbedder, check_finite
from inbedder_retrieval.errors import DocumentError, TextError

__all__ = ["IndexReport", "index_documents"]

BATCH_DOCUMENTS = 512
# What a batch of long texts may hold in memory.
BATCH_CHARACTERS = 4_000_000


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


def index_documents(
    engine: Engine,
    registry: Registry,
    embedder: TextEmbedder,
    documents: Iterable[Document],
    *,
    on_long: OnLong = "cut",
    progress: Callable[[int], None] | None = None,
) -> IndexReport:
    """Store documents under every view of the registry.

    Args:
        progress: called after each batch with the number of documents that are safely stored.

    Raises:
        DocumentError: an item is no Document. What came before its batch is stored.
        TextError: a text cannot be embedded, likewise.
        EngineError: the engine refused a batch, likewise.
    """
    report = IndexReport()
    seen: set[str] = set()
    done = 0
    for batch in _batches(documents):
        _index_batch(engine, registry, embedder, batch, on_long, report, seen)
        engine.flush()
        done += len(batch)
        if progress is not None:
            progress(done)
    return report


def _index_batch(
    engine: Engine,
    registry: Registry,
    embedder: TextEmbedder,
    batch: list[Document],
    on_long: OnLong,
    report: IndexReport,
    seen: set[str],
) -> None:
    latest = {document.id: document for document in batch}
    report.duplicates += len(batch) - len(latest) + len(seen & latest.keys())
    seen.update(latest)
    stored = engine.retrieve([point_id(name) for name in latest], [HASH, METADATA, EXACT])
    fresh: list[Document] = []
    relabelled: list[Point] = []
    for document in latest.values():
        point = point_id(document.id)
        old = stored.get(point)
        if old is None or old.get(HASH) != text_hash(document.text):
            fresh.append(document)
            report.added += old is None
            report.updated += old is not None
        elif as_json(metadata_of(old)) != as_json(document.metadata):
            relabelled.append(Point(point, payload_of(document)))
            report.relabelled += 1
        else:
            report.unchanged += 1
    if fresh:
        texts = [document.text for document in fresh]
        embeddings = embedder.embed(texts, registry.views)
        if embeddings.truncated and on_long == "error":
            document = fresh[embeddings.truncated[0]]
            raise TextError(
                f"document {document.id!r} is longer than {embedder.name} reads (it begins "
                f"{document.text[:40]!r}); split it, or let long texts be cut"
            )
        check_finite(embeddings, embedder.name)
        report.truncated += len(embeddings.truncated)
        report.empty += len(embeddings.empty)
        records = registry.records.values()
        engine.upsert(
            [
                Point(
                    point_id(document.id),
                    payload_of(document),
                    {record.vector: embeddings[record.name][row] for record in records},
                )
                for row, document in enumerate(fresh)
            ]
        )
    engine.overwrite_payload(relabelled)


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
