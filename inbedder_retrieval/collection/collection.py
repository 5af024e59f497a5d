"""ViewCollection: documents with their views, at one location.

What each method does is written in the modules it is named for; here it is given a signature, and
run. The same for asyncio is in `awaited.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType

from inbedder_retrieval.collection.asked import Fusion, Search
from inbedder_retrieval.collection.awaited import AwaitedCalls
from inbedder_retrieval.collection.connection import Connection
from inbedder_retrieval.collection.contents import delete_documents, describe, get_documents
from inbedder_retrieval.collection.filters import Where, WhereLike, parse_where
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.index import IndexReport, add_documents
from inbedder_retrieval.collection.lifecycle import (
    add_views,
    check_questions,
    drop_view,
    rebuild_views,
    rename_view,
    sweep,
)
from inbedder_retrieval.collection.location import create_engine, open_engine
from inbedder_retrieval.collection.registry import CollectionInfo, Registry
from inbedder_retrieval.collection.search import search
from inbedder_retrieval.collection.storage import Storage
from inbedder_retrieval.collection.store import Known, Store
from inbedder_retrieval.documents import Document, Hit
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.embeddings import OnLong, TextEmbedder
from inbedder_retrieval.errors import CollectionNotFound, ViewError
from inbedder_retrieval.views import View, Views, ViewsLike

__all__ = ["ViewCollection"]


class ViewCollection(AwaitedCalls):
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
        widths = {record.vector: record.dimension for record in registry.written}
        engine = create_engine(
            location, widths, registry.entries(), storage=storage, connection=connection
        )
        collection = cls(Store(str(location), engine, Known(registry)))
        collection._store.use(embedder)
        if registry.storage.tenant is not None:
            run(engine.index_fields({Where.field(registry.storage.tenant).path: "tenant"}))
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
            registry = Registry.from_entries(run(engine.read_registry()), str(location))
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
            collection._check_views(asked or ())
        except BaseException:
            collection.close()
            raise
        return collection

    @property
    def views(self) -> Views:
        """The views of every document, in the order they were added."""
        return self._store.registry.views

    @property
    def embedder(self) -> TextEmbedder:
        """What embeds; loaded now if it was not before.

        Raises:
            CheckpointError: the model the collection was created with is not to be had.
            ModelMismatch: it is, but its weights have changed.
        """
        return self._store.embedder()

    def add(
        self,
        documents: Iterable[Document],
        *,
        on_long: OnLong = "cut",
        progress: Callable[[int], None] | None = None,
    ) -> IndexReport:
        """Store documents under every view.

        A known id with the same text and metadata is passed over; with other metadata only its
        metadata is written; with another text it is embedded and written anew. Documents are read
        and written in bounded batches, so a generator of any length will do.

        Args:
            on_long: `cut` texts that are longer than the model reads, or raise an `error`.
            progress: called with the number of documents that are safely stored.

        Raises:
            DocumentError, TextError, EngineError: what came in earlier batches is stored; adding
                the same documents again goes on from there.
        """
        return run(add_documents(self._store, documents, on_long=on_long, progress=progress))

    def add_view(
        self, views: ViewsLike, *, progress: Callable[[int, int], None] | None = None
    ) -> int:
        """Ask further questions of all documents, those stored already included.

        One pass over the texts fills all new views. Meanwhile other views are searched, and
        documents added get the new ones. The same call finishes what was interrupted.

        Args:
            progress: called with the numbers of documents done and to be done.

        Returns how many documents were embedded.

        Raises:
            ViewError: a view of this name asks something else here, or the model cannot be asked.
            EngineError: the engine refused.
        """
        return run(add_views(self._store, Views.of(views), progress=progress))

    def rebuild_view(
        self,
        views: ViewsLike | None = None,
        *,
        embedder: TextEmbedder | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Embed all documents anew for some views: with another question, or another model.

        The new vectors are built beside the old ones, which are searched until all are there;
        then the views change at once, and the old vectors are deleted. The same call finishes what
        was interrupted.

        Args:
            views: the views as they are to be, by the names they have. None takes all as they
                are.
            embedder: another model; it must be given all views. None keeps the one there is.
            progress: called with the numbers of documents done and to be done.

        Returns how many documents were embedded.

        Raises:
            UnknownView: there is no view of one of these names.
            ModelMismatch: another model is given for some views only.
            EngineError: the engine refused.
        """
        asked = self.views if views is None else Views.of(views)
        return run(rebuild_views(self._store, asked, embedder, progress=progress))

    def rename_view(self, name: str, to: str) -> None:
        """Call a view by another name; its question and vectors stay.

        Raises:
            UnknownView: there is none of this name.
            ViewError: there is one of the new name already, or it can be none.
        """
        run(rename_view(self._store, name, to))

    def drop_view(self, name: str) -> None:
        """Forget a view and delete its vectors; documents and other views stay.

        Raises:
            UnknownView: there is none of this name.
            ViewError: it is the only one.
        """
        run(drop_view(self._store, name))

    def get(self, ids: Iterable[object]) -> list[Document]:
        """Return the documents with these ids, in their order; ids not stored are left out."""
        return run(get_documents(self._store, ids))

    def delete(
        self, ids: Iterable[object] | None = None, *, filter: WhereLike | None = None
    ) -> int:
        """Delete documents by id, or those that fit a filter, and return how many there were.

        Raises:
            InputError: neither or both are given, or `ids` is a single string, which could mean
                more than was meant.
            DocumentError: the filter is empty, which would fit everything.
        """
        where = None if filter is None else parse_where(filter)
        return run(delete_documents(self._store, ids, where))

    def count(self, filter: WhereLike | None = None) -> int:
        """Count the documents, all or those that fit a filter."""
        return run(self._store.engine.count(None if filter is None else parse_where(filter)))

    def search(
        self,
        query: str | None = None,
        *,
        answer: str | Mapping[str, str] | None = None,
        like: Iterable[object] = (),
        unlike: Iterable[object] = (),
        view: str | None = None,
        views: Mapping[str, float] | None = None,
        fusion: Fusion = "sum",
        limit: int = 10,
        offset: int = 0,
        filter: WhereLike | None = None,
        threshold: float | None = None,
        diversity: float | None = None,
        group_by: str | None = None,
        group_size: int = 1,
        candidates: int | None = None,
        exact: bool = False,
        explain: int | bool = 0,
        allow_partial: bool = False,
    ) -> list[Hit]:
        """Return the documents whose answers are nearest to the query's, best first.

        Documents with equal scores come in the order of their points' ids, on every page.

        Args:
            query: a text like the documents'; it is asked the same questions.
            answer: the answer itself that the documents are to give, such as "a refund"; or an
                answer for each view, such as {"need": "a refund", "feeling": "angry"}.
            like: ids of documents whose answers are wanted. With a query or an answer, or several
                ids, their vectors' mean is looked for.
            unlike: ids of documents whose answers are not wanted.
            view: the view to search; may be left out where there is one only.
            views: several views with weights.
            fusion: how several views are joined. `sum`: the weighted sum of cosines, exact for the
                candidates; a document that lacks a view counts zero there. `ranks`: weighted
                reciprocal rank fusion, for views whose cosines are not alike.
            limit: how many hits at most; with `group_by`, how many groups.
            offset: how many hits, or groups, to pass over.
            filter: a condition on metadata (see `Where`), as a dict or a Where. The fields it
                looks at get a payload index once it has found something.
            threshold: the least score of a hit.
            diversity: 0 to 1: choose hits that are near the query and unlike each other (maximal
                marginal relevance). 0 is relevance alone.
            group_by: a metadata field; at most `group_size` hits for each of its values, groups
                in the order of their best hit. A document without a single value is left out.
            candidates: how many nearest documents of each view are looked at, where several views
                are joined or hits diversified; the nearest max(200, 10 * (offset + limit)) unless
                told.
            exact: compare with every document instead of walking the graph.
            explain: how many answer words to read from each hit's vectors; True for 3.
            allow_partial: search a view that is still being built, though documents lack it.

        Raises:
            UnknownView: lists the views there are.
            ViewNotReady: a view is being built.
            InputError, TextError, DocumentError: the query, an example, a number or the filter is
                unusable.
        """
        asked = Search(
            query=query,
            answer=answer,
            like=like,
            unlike=unlike,
            view=view,
            views=views,
            fusion=fusion,
            limit=limit,
            offset=offset,
            filter=filter,
            threshold=threshold,
            diversity=diversity,
            group_by=group_by,
            group_size=group_size,
            candidates=candidates,
            exact=exact,
            explain=explain,
            allow_partial=allow_partial,
        )
        return run(search(self._store, asked))

    def optimize(self, *, progress: Callable[[float], None] | None = None) -> None:
        """Build the search graphs and quantized copies of a folder; wait for a server's.

        A folder compares with every document until this is called; other calls wait meanwhile. A
        server builds its graphs by itself.

        Args:
            progress: called with the seconds it has taken so far.

        Raises:
            EngineError: the engine refused.
        """
        run(self._store.engine.optimize(progress))

    def info(self) -> CollectionInfo:
        """Describe the collection."""
        return run(describe(self._store))

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

    def _check_views(self, asked: Iterable[View]) -> None:
        registry = self._store.registry
        for view in asked:
            if view.name not in registry.records:
                raise ViewError(
                    f"{self._store.location} has no view {view.name!r} (it has "
                    f"{', '.join(registry.records)}); add it with 'inbedder views add' or "
                    "ViewCollection.add_view, or leave it out"
                )
        check_questions(registry, asked, self._store.location)
