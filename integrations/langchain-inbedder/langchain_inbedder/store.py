"""InBedderVectorStore: LangChain's VectorStore over a collection, looking through one view.

Every document has a vector for each view of the collection. A store searches one of them unless
a call names another, or several with weights; `for_view` looks at the same documents through
another. Here one is made, written to and closed; how it is searched is in `searches.py`.

The asynchronous calls are the library's: on a Qdrant server they are asyncio all the way down,
elsewhere they run in a worker thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias

from inbedder_retrieval import (
    Connection,
    IndexReport,
    TextEmbedder,
    UnknownView,
    ViewCollection,
)
from inbedder_retrieval import Document as Stored
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from typing_extensions import Self, Unpack

from langchain_inbedder.documents import of_langchain, of_texts, to_langchain
from langchain_inbedder.embeddings import InBedderEmbeddings, text_embedder
from langchain_inbedder.filters import Filter, where_of
from langchain_inbedder.place import Place, collection_at, view_asked
from langchain_inbedder.searches import Searches

__all__ = ["InBedderVectorStore"]

Embedding: TypeAlias = "Embeddings | TextEmbedder | None"
OnLong: TypeAlias = Literal["cut", "error"]
logger = logging.getLogger(__name__)


class InBedderVectorStore(Searches):
    """The documents of a collection, as their answers to one question.

    Args:
        collection: what `inbedder_retrieval.ViewCollection.create` or `open` returned.
        view: the view that is searched unless a call names another; None takes the first.

    Raises:
        UnknownView: the collection has no such view.
    """

    def __init__(self, collection: ViewCollection, *, view: str | None = None) -> None:
        names = collection.views.names
        if view is not None and view not in names:
            # Somebody else may have added it meanwhile.
            names = [record.name for record in collection.info().views]
        if view is not None and view not in names:
            raise UnknownView(f"there is no view {view!r}; there are {', '.join(names)}")
        self.collection = collection
        self.view = view or names[0]

    @classmethod
    def from_texts(  # type: ignore[override]  # No option is taken that is not used.
        cls,
        texts: Iterable[str],
        embedding: Embedding = None,
        metadatas: Iterable[dict[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        on_long: OnLong = "cut",
        **place: Unpack[Place],
    ) -> Self:
        """Add texts to the collection at a place, which is created where there is none.

        Args:
            embedding: InBedderEmbeddings or an Embedder; None takes the packaged model, or that
                of the collection there is.
            place: where it is and which views it has: see `Place`.

        Raises:
            InputError: the embedding cannot be asked questions.
            As `ViewCollection.open_or_create` and `add`, besides.
        """
        return cls._filled(of_texts(texts, metadatas, ids), embedding, on_long, place)

    @classmethod
    async def afrom_texts(  # type: ignore[override]
        cls,
        texts: Iterable[str],
        embedding: Embedding = None,
        metadatas: Iterable[dict[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        on_long: OnLong = "cut",
        **place: Unpack[Place],
    ) -> Self:
        """As `from_texts`."""
        return await cls._afilled(of_texts(texts, metadatas, ids), embedding, on_long, place)

    @classmethod
    def from_documents(  # type: ignore[override]
        cls,
        documents: Iterable[Document],
        embedding: Embedding = None,
        *,
        ids: Iterable[str | None] | None = None,
        on_long: OnLong = "cut",
        **place: Unpack[Place],
    ) -> Self:
        """Add documents to the collection at a place, as `from_texts` does texts."""
        return cls._filled(of_langchain(documents, ids), embedding, on_long, place)

    @classmethod
    async def afrom_documents(  # type: ignore[override]
        cls,
        documents: Iterable[Document],
        embedding: Embedding = None,
        *,
        ids: Iterable[str | None] | None = None,
        on_long: OnLong = "cut",
        **place: Unpack[Place],
    ) -> Self:
        """As `from_documents`."""
        return await cls._afilled(of_langchain(documents, ids), embedding, on_long, place)

    @classmethod
    def from_existing(
        cls,
        location: str | Path,
        embedding: Embedding = None,
        *,
        view: str | None = None,
        connection: Connection | None = None,
    ) -> Self:
        """Open the collection at a location, whatever wrote it.

        Raises:
            CollectionNotFound: there is none.
            ModelMismatch: the embedding's model is not the one that wrote the vectors.
            As `ViewCollection.open`, besides.
        """
        collection = ViewCollection.open(location, text_embedder(embedding), connection=connection)
        return cls._looking(collection, embedding, view)

    def for_view(self, view: str) -> Self:
        """Return a store over the same documents that searches another view.

        Raises:
            UnknownView: lists the views there are.
        """
        return type(self)(self.collection, view=view)

    @property
    def embeddings(self) -> InBedderEmbeddings:
        """Embeddings under the store's own question, by the collection's model."""
        view = self.collection.views[self.view]
        return InBedderEmbeddings(
            view.instruction, view=view.name, embedder=self.collection.embedder
        )

    def add_documents(  # type: ignore[override]
        self,
        documents: Iterable[Document],
        *,
        ids: Iterable[str | None] | None = None,
        on_long: OnLong = "cut",
        batch_size: int | None = None,
    ) -> list[str]:
        """Store documents under every view, and return their ids.

        A known id with the same text and metadata is passed over, and one with another text or
        metadata is written anew. A document without an id is named by a hash of its text and
        metadata, so that adding it twice stores it once.

        Args:
            ids: they go before those of the documents; None among them counts as none.
            on_long: `cut` texts that are longer than the model reads, or raise an `error`.
            batch_size: LangChain's `index` passes it. The library cuts batches by itself.

        Raises:
            InputError: there are more or fewer ids than documents.
            DocumentError: an id or metadata cannot be stored; nothing was.
            TextError: a text cannot be embedded.
        """
        return self._write(of_langchain(documents, ids), on_long)

    async def aadd_documents(  # type: ignore[override]
        self,
        documents: Iterable[Document],
        *,
        ids: Iterable[str | None] | None = None,
        on_long: OnLong = "cut",
        batch_size: int | None = None,
    ) -> list[str]:
        """As `add_documents`."""
        return await self._awrite(of_langchain(documents, ids), on_long)

    def add_texts(  # type: ignore[override]
        self,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        on_long: OnLong = "cut",
        batch_size: int | None = None,
    ) -> list[str]:
        """Store texts under every view, as `add_documents` does, and return their ids."""
        return self._write(of_texts(texts, metadatas, ids), on_long)

    async def aadd_texts(  # type: ignore[override]
        self,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        on_long: OnLong = "cut",
        batch_size: int | None = None,
    ) -> list[str]:
        """As `add_texts`."""
        return await self._awrite(of_texts(texts, metadatas, ids), on_long)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids, in their order; ids not stored are left out."""
        return [to_langchain(one) for one in self.collection.get(ids)]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """As `get_by_ids`."""
        return [to_langchain(one) for one in await self.collection.aget(ids)]

    def delete(  # type: ignore[override]
        self, ids: Iterable[str] | None = None, *, filter: Filter | None = None
    ) -> bool:
        """Delete documents by id, or those that fit a filter; ids not stored are passed over.

        To delete all, say so: `store.collection.clear()`.

        Raises:
            InputError: neither or both are given, or `ids` is a single string.
            DocumentError: the filter is unusable.
        """
        self.collection.delete(ids, filter=None if filter is None else where_of(filter))
        return True

    async def adelete(  # type: ignore[override]
        self, ids: Iterable[str] | None = None, *, filter: Filter | None = None
    ) -> bool:
        """As `delete`."""
        await self.collection.adelete(ids, filter=None if filter is None else where_of(filter))
        return True

    def close(self) -> None:
        """Close the collection, and with it every store over it; closing again does nothing."""
        self.collection.close()

    async def aclose(self) -> None:
        """As `close`."""
        await self.collection.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _write(self, documents: list[Stored], on_long: OnLong) -> list[str]:
        _report(self.collection.add(documents, on_long=on_long))
        return [one.id for one in documents]

    async def _awrite(self, documents: list[Stored], on_long: OnLong) -> list[str]:
        _report(await self.collection.aadd(documents, on_long=on_long))
        return [one.id for one in documents]

    @classmethod
    def _filled(
        cls,
        documents: list[Stored],
        embedding: Embedding,
        on_long: OnLong,
        place: Place,
    ) -> Self:
        store = cls._looking(collection_at(place, embedding), embedding, place.get("view"))
        try:
            store._write(documents, on_long)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    async def _afilled(
        cls,
        documents: list[Stored],
        embedding: Embedding,
        on_long: OnLong,
        place: Place,
    ) -> Self:
        collection = await asyncio.to_thread(collection_at, place, embedding)
        store = cls._looking(collection, embedding, place.get("view"))
        try:
            await store._awrite(documents, on_long)
        except BaseException:
            await store.aclose()
            raise
        return store

    @classmethod
    def _looking(
        cls,
        collection: ViewCollection,
        embedding: Embedding,
        view: str | None,
    ) -> Self:
        try:
            return cls(collection, view=view or view_asked(collection.views, embedding))
        except BaseException:
            collection.close()
            raise


def _report(report: IndexReport) -> None:
    """Say what LangChain's calls have no place for: texts that were cut."""
    if report.truncated:
        logger.warning(
            "%d texts are longer than the model reads and were embedded by their beginning; "
            "split them into shorter ones, or refuse them with on_long='error'",
            report.truncated,
        )
