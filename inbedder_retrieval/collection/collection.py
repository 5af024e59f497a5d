"""ViewCollection: documents with their views, at one location.

Here one is made, opened and closed. Its calls are in `blocking.py`, those for asyncio in
`awaited.py`; what they do is written in the modules it is named for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from inbedder_retrieval.collection.awaited import AwaitedCalls
from inbedder_retrieval.collection.blocking import BlockingCalls
from inbedder_retrieval.collection.connection import Connection
from inbedder_retrieval.collection.copies import copy_archive, copy_store
from inbedder_retrieval.collection.filters import Where
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.layouts import Layout
from inbedder_retrieval.collection.lifecycle import (
    check_views,
    sweep,
)
from inbedder_retrieval.collection.location import create_engine, open_engine
from inbedder_retrieval.collection.registry import ADOPTED_KEY, Registry
from inbedder_retrieval.collection.storage import Storage
from inbedder_retrieval.collection.store import Known, Store
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.embeddings import TextEmbedder
from inbedder_retrieval.errors import CollectionNotFound
from inbedder_retrieval.views import Views, ViewsLike

__all__ = ["ViewCollection"]


class ViewCollection(BlockingCalls, AwaitedCalls):
    """Documents with one named vector per view. Make one with `create` or `open`.

    A location is a folder (Qdrant Edge), `:memory:`, or `http://host:6333/name` (a Qdrant server;
    its API key is read from the environment variable QDRANT_API_KEY). Use it in a `with` block,
    or `close` it: a folder has one user at a time. Threads may share it.
    """

    @classmethod
    def create(
        cls,
        location: str | Path,
        views: ViewsLike,
        embedder: TextEmbedder | None = None,
        *,
        storage: Storage | None = None,
        connection: Connection | None = None,
    ) -> ViewCollection:
        """Create an empty collection.

        Args:
            views: the questions that every document is embedded under.
            embedder: what embeds; None takes the packaged model.
            storage: how the vectors are kept: quantization, graphs, shards, tenants.
            connection: time-outs and patience with a server.

        Raises:
            CollectionExists: the location is taken; nothing there is touched.
            ViewError: the views are unusable.
            InputError: the storage is one that only a server has, and the location is none.
            EngineError: the engine refused, or the server does not answer.
        """
        views = Views.of(views)
        embedder = Embedder() if embedder is None else embedder
        embedder.embed([], views)  # A question this model cannot take is found before anything is.
        registry = Registry.new(views, embedder, storage)
        tenant = registry.storage.tenant
        path = None if tenant is None else Where.field(tenant).path
        widths = {record.vector: record.dimension for record in registry.written}
        engine = create_engine(
            location, widths, registry.entries(), storage=storage, connection=connection
        )
        collection = cls(Store(str(location), engine, Known(registry)))
        collection._store.use(embedder)
        if path is not None:
            run(engine.index_fields({path: "tenant"}))
        return collection

    @classmethod
    def open(
        cls,
        location: str | Path,
        embedder: TextEmbedder | None = None,
        *,
        connection: Connection | None = None,
    ) -> ViewCollection:
        """Open a collection.

        Args:
            embedder: what embeds; None loads the model that the collection was created with, when
                it is first needed.
            connection: time-outs and patience with a server.

        Raises:
            CollectionNotFound: there is none.
            CollectionLocked: another process, or another object in this one, holds the folder.
            ModelMismatch: the embedder is another model than the one that wrote the vectors.
            EngineError: the engine refused, or the server does not answer.
        """
        engine = open_engine(location, connection=connection)
        try:
            entries = run(engine.read_registry())
            if ADOPTED_KEY in entries:
                from inbedder_retrieval.collection.adopt import as_adopted

                engine = as_adopted(engine, entries)
            registry = Registry.from_entries(entries, str(location))
            store = Store(str(location), engine, Known(registry))
            if embedder is not None:
                store.use(embedder)
            run(sweep(store))
        except BaseException:
            run(engine.close())
            raise
        return cls(store)

    @classmethod
    def open_or_create(
        cls,
        location: str | Path,
        views: ViewsLike | None = None,
        embedder: TextEmbedder | None = None,
        *,
        storage: Storage | None = None,
        connection: Connection | None = None,
    ) -> ViewCollection:
        """Open a collection, or create it where there is none and views are given.

        Raises:
            CollectionNotFound: there is none, and no views to create it with.
            ViewError: there is one, without one of these views or with another question for it.
            As `open` and `create`, besides.
        """
        asked = None if views is None else Views.of(views)
        try:
            collection = cls.open(location, embedder, connection=connection)
        except CollectionNotFound as error:
            if asked is None:
                raise CollectionNotFound(
                    f"{error}; or name its views, such as "
                    'feeling="How does the customer feel?", to create it'
                ) from None
            return cls.create(location, asked, embedder, storage=storage, connection=connection)
        try:
            check_views(collection._store, asked or ())
        except BaseException:
            collection.close()
            raise
        return collection

    @classmethod
    def adopt(
        cls,
        location: str | Path,
        views: ViewsLike | None = None,
        embedder: TextEmbedder | None = None,
        *,
        name: str | None = None,
        layout: Layout | None = None,
        connection: Connection | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> ViewCollection:
        """Add views to a collection that LangChain's or LlamaIndex's `QdrantVectorStore` wrote.

        Its vectors and payloads stay, and both libraries go on reading it. A document's id is its
        point's. The same call finishes what was interrupted, and takes in what they wrote later.

        Args:
            location: a server's `http://host:6333/name`, or a folder of qdrant-client's local mode.
            views: the questions; None where the collection was adopted before.
            embedder: what embeds; None takes the packaged model, or that of the views there are.
            name: the collection's name in a folder.
            layout: under which keys text and metadata are; None finds out by the first point.
            connection: time-outs and patience with a server.
            progress: called with the numbers of documents embedded and to be embedded.

        Raises:
            CollectionNotFound: there is no such collection.
            CollectionExists: it is one of this package already.
            InputError: it holds no point, or none of either library; or no view is given.
            DocumentError: a point's metadata cannot be kept. What came before it is adopted.
            ViewError, ModelMismatch: there are views that ask something else, or another model's.
            EngineError: the engine refused.
        """
        from inbedder_retrieval.collection.adopt import adopt_collection

        asked = None if views is None else Views.of(views)
        flow = adopt_collection(
            location,
            asked,
            embedder,
            name=name,
            layout=layout,
            connection=connection,
            progress=progress,
        )
        return cls(run(flow))

    @classmethod
    def from_parquet(
        cls,
        file: str | Path,
        location: str | Path,
        embedder: TextEmbedder | None = None,
        *,
        storage: Storage | None = None,
        connection: Connection | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> ViewCollection:
        """Make a collection of a Parquet file that `to_parquet` wrote; nothing is embedded.

        The same call finishes what was interrupted.

        Args:
            storage: how the vectors are kept here; None keeps what the collection had.
            progress: called with the numbers of documents done and to be done.

        Raises:
            SourceError: the file is no such archive.
            CollectionExists: the location is taken.
            As `open`, besides.
        """
        flow = copy_archive(
            file, location, storage=storage, connection=connection, progress=progress
        )
        return cls(run(flow)[0])._using(embedder)

    def copy(
        self,
        location: str | Path,
        *,
        storage: Storage | None = None,
        connection: Connection | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> ViewCollection:
        """Copy everything to another location, without embedding again, and open it there.

        The same call finishes what was interrupted.

        Args:
            storage: how the vectors are kept there; None keeps what there is here.
            progress: called with the numbers of documents done and to be done.

        Raises:
            CollectionExists: the location is taken.
            EngineError: an engine refused, or documents kept changing meanwhile.
        """
        flow = copy_store(
            self._store, location, storage=storage, connection=connection, progress=progress
        )
        return type(self)(run(flow)[0])

    def _using(self, embedder: TextEmbedder | None) -> ViewCollection:
        try:
            if embedder is not None:
                self._store.use(embedder)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Write everything out and let go of the location; closing again does nothing.

        Raises:
            EngineError: not everything could be written. The location is let go of all the same.
        """
        if self._closed:
            return
        self._closed = True
        try:
            run(self._store.engine.flush())
        finally:
            run(self._store.engine.close())

    def __enter__(self) -> ViewCollection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def aclose(self) -> None:
        """As `close`."""
        if self._awaiting is not None:
            await self._awaiting[1].engine.close()
            self._awaiting = None
        await asyncio.to_thread(self.close)

    async def __aenter__(self) -> ViewCollection:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
