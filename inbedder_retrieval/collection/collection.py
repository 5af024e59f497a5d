"""ViewCollection: documents with their views, at one location.

It joins a registry, an engine and an embedder; how documents are written and found is in
`index.py` and `search.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType

from inbedder_retrieval.collection.backfill import begin_views, drop_view, fill_views
from inbedder_retrieval.collection.engine import Engine, create_engine, open_engine
from inbedder_retrieval.collection.filters import Where, WhereLike, parse_where
from inbedder_retrieval.collection.index import IndexReport, index_documents
from inbedder_retrieval.collection.schema import (
    EXACT,
    ID,
    METADATA,
    TEXT,
    CollectionInfo,
    Registry,
    metadata_of,
    point_id,
)
from inbedder_retrieval.collection.search import choose_weights, search_views
from inbedder_retrieval.documents import Document, Hit, check_id
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.embeddings import OnLong, TextEmbedder
from inbedder_retrieval.errors import (
    CollectionNotFound,
    EngineError,
    InputError,
    ViewError,
    ViewNotReady,
)
from inbedder_retrieval.views import View, Views, ViewsLike

__all__ = ["ViewCollection"]

MAX_LIMIT = 10_000


class ViewCollection:
    """Documents with one named vector per view. Make one with `create` or `open`.

    A location is a folder (Qdrant Edge), `:memory:`, or `http://host:6333/name` (a Qdrant server;
    its API key is read from the environment variable QDRANT_API_KEY). Use it in a `with` block,
    or `close` it: a folder has one user at a time.
    """

    def __init__(
        self,
        location: str,
        engine: Engine,
        registry: Registry,
        embedder: TextEmbedder | None,
    ) -> None:
        self._location = location
        self._engine = engine
        self._registry = registry
        self._embedder = embedder
        self._closed = False
        self._indexed: set[str] = set()

    @classmethod
    def create(
        cls, location: str | Path, views: ViewsLike, embedder: TextEmbedder | None = None
    ) -> ViewCollection:
        """Create an empty collection.

        Args:
            views: the questions that every document is embedded under.
            embedder: what embeds; None takes the packaged model.

        Raises:
            CollectionExists: the location is taken; nothing there is touched.
            ViewError: the views are unusable.
            EngineError: the engine refused, or the server does not answer.
        """
        views = Views.of(views)
        embedder = Embedder() if embedder is None else embedder
        embedder.embed([], views)  # A question this model cannot take is found before anything is.
        registry = Registry.new(
            views,
            model=embedder.name,
            fingerprint=embedder.fingerprint,
            dimension=embedder.dimension,
        )
        widths = {record.vector: record.dimension for record in registry.records.values()}
        engine = create_engine(location, widths, registry.entries())
        return cls(str(location), engine, registry, embedder)

    @classmethod
    def open(cls, location: str | Path, embedder: TextEmbedder | None = None) -> ViewCollection:
        """Open a collection.

        Args:
            embedder: what embeds; None loads the model that the collection was created with, when
                it is first needed.

        Raises:
            CollectionNotFound: there is none.
            CollectionLocked: another process, or another object in this one, holds the folder.
            ModelMismatch: the embedder is another model than the one that wrote the vectors.
            EngineError: the engine refused, or the server does not answer.
        """
        engine = open_engine(location)
        try:
            registry = Registry.from_entries(engine.read_registry(), str(location))
            collection = cls(str(location), engine, registry, None)
            if embedder is not None:
                collection._use(embedder)
        except BaseException:
            engine.close()
            raise
        return collection

    @classmethod
    def open_or_create(
        cls,
        location: str | Path,
        views: ViewsLike | None = None,
        embedder: TextEmbedder | None = None,
    ) -> ViewCollection:
        """Open a collection, or create it where there is none and views are given.

        Raises:
            CollectionNotFound: there is none, and no views to create it with.
            ViewError: there is one, without one of these views or with another question for it.
            As `open` and `create`, besides.
        """
        asked = None if views is None else Views.of(views)
        try:
            collection = cls.open(location, embedder)
        except CollectionNotFound as error:
            if asked is None:
                raise CollectionNotFound(
                    f"{error}; or name its views, such as "
                    'feeling="How does the customer feel?", to create it'
                ) from None
            return cls.create(location, asked, embedder)
        try:
            collection._check_views(asked or ())
        except BaseException:
            collection.close()
            raise
        return collection

    @property
    def views(self) -> Views:
        """The views of every document, in the order they were added."""
        return self._registry.views

    @property
    def embedder(self) -> TextEmbedder:
        """What embeds; loaded now if it was not before.

        Raises:
            CheckpointError: the model the collection was created with is not to be had.
            ModelMismatch: it is, but its weights have changed.
        """
        if self._embedder is None:
            record = next(iter(self._registry.records.values()))
            return self._use(Embedder(record.model))
        return self._embedder

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
        return index_documents(
            self._engine,
            self._registry,
            self.embedder,
            documents,
            on_long=on_long,
            progress=progress,
        )

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
        views = Views.of(views)
        self._registry = Registry.from_entries(self._engine.read_registry(), self._location)
        self._check_questions(view for view in views if view.name in self._registry.records)
        self.embedder.embed([], views)
        self._registry = begin_views(self._engine, self._registry, views, self.embedder)
        self._registry, filled = fill_views(
            self._engine, self._registry, self.embedder, progress=progress
        )
        return filled

    def drop_view(self, name: str) -> None:
        """Forget a view and delete its vectors; documents and other views stay.

        Raises:
            UnknownView: there is none of this name.
            ViewError: it is the only one.
        """
        self._registry = Registry.from_entries(self._engine.read_registry(), self._location)
        self._registry = drop_view(self._engine, self._registry, name)

    def get(self, ids: Iterable[object]) -> list[Document]:
        """Return the documents with these ids, in their order; ids not stored are left out."""
        points = [point_id(check_id(one)) for one in _several(ids)]
        stored = self._engine.retrieve(points, [ID, TEXT, METADATA, EXACT])
        return [
            Document(stored[p][TEXT], id=stored[p][ID], metadata=metadata_of(stored[p]))
            for p in points
            if p in stored
        ]

    def delete(self, ids: Iterable[object]) -> int:
        """Delete the documents with these ids and return how many there were.

        Raises:
            InputError: `ids` is None or a single string, which could mean more than was meant.
        """
        points = sorted({point_id(check_id(one)) for one in _several(ids)})
        there = list(self._engine.retrieve(points, [ID]))
        self._engine.delete(there)
        self._engine.flush()
        return len(there)

    def count(self, filter: WhereLike | None = None) -> int:
        """Count the documents, all or those that fit a filter."""
        return self._engine.count(None if filter is None else parse_where(filter))

    def search(
        self,
        query: str,
        *,
        view: str | None = None,
        views: Mapping[str, float] | None = None,
        limit: int = 10,
        filter: WhereLike | None = None,
        explain: int = 0,
        allow_partial: bool = False,
    ) -> list[Hit]:
        """Return the documents whose answers are nearest to the query's.

        Args:
            query: a text like the documents'; it is asked the same questions.
            view: the view to search; may be left out where there is one only.
            views: several views with weights. The score is the weighted sum of cosines, exact for
                the candidates: the nearest max(200, 10 * limit) documents of each view. A document
                that lacks a view counts zero there.
            limit: how many hits at most.
            filter: a condition on metadata (see `Where`), as a dict or a Where. The fields it
                looks at get a payload index once it has found something.
            explain: how many answer words to read from each hit's vectors.
            allow_partial: search a view that is still being built, though documents lack it.

        Raises:
            UnknownView: lists the views there are.
            ViewNotReady: a view is being built.
            InputError, TextError: the query, a weight, the limit or the filter is unusable.
        """
        if not _whole(limit) or not 1 <= limit <= MAX_LIMIT:
            raise InputError(f"the limit is {limit!r}; give a whole number from 1 to {MAX_LIMIT}")
        if not _whole(explain) or explain < 0:
            raise InputError(f"explain is {explain!r}; give a number of words, or 0 for none")
        weights = choose_weights(self._registry, view, views)
        for name in weights:
            if self._registry.record(name).state == "building" and not allow_partial:
                raise ViewNotReady(
                    f"view {name!r} is being built: documents lack it still. Finish it by adding "
                    "it again, or search it with allow_partial=True"
                )
        where = None if filter is None else parse_where(filter)
        hits = search_views(
            self._engine,
            self._registry,
            self.embedder,
            query,
            weights,
            limit=limit,
            where=where,
            explain=explain,
        )
        if hits and where is not None:
            self._index_fields(where)
        return hits

    def info(self) -> CollectionInfo:
        """Describe the collection."""
        return CollectionInfo(
            location=self._location,
            engine=self._engine.kind,
            documents=self._engine.count(),
            views=list(self._registry.records.values()),
            indexed_fields=sorted(
                path.removeprefix(f"{METADATA}.") for path in self._engine.indexed_fields()
            ),
        )

    def close(self) -> None:
        """Write everything out and let go of the location; closing again does nothing.

        Raises:
            EngineError: not everything could be written. The location is let go of all the same.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._engine.flush()
        finally:
            self._engine.close()

    def __enter__(self) -> ViewCollection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _index_fields(self, where: Where) -> None:
        fields = {path: kind for path, kind in where.fields() if path not in self._indexed}
        if not fields:
            return
        # Asked for once: who may only read a server does without, also next time.
        self._indexed.update(fields)
        try:
            self._engine.index_fields(fields)
        except EngineError:
            # An index makes filters faster, not right.
            return

    def _check_views(self, asked: Iterable[View]) -> None:
        have = {view.name: view for view in self.views}
        for view in asked:
            if view.name not in have:
                raise ViewError(
                    f"{self._location} has no view {view.name!r} (it has {', '.join(have)}); add "
                    "it with 'inbedder views add' or ViewCollection.add_view, or leave it out"
                )
        self._check_questions(asked)

    def _check_questions(self, asked: Iterable[View]) -> None:
        have = {view.name: view for view in self.views}
        for view in asked:
            if have[view.name] != view:
                raise ViewError(
                    f"view {view.name!r} of {self._location} asks "
                    f"{have[view.name].instruction!r}, not {view.instruction!r}; give it another "
                    "name, or leave it out"
                )

    def _use(self, embedder: TextEmbedder) -> TextEmbedder:
        self._registry.check_model(
            model=embedder.name, fingerprint=embedder.fingerprint, dimension=embedder.dimension
        )
        self._embedder = embedder
        return embedder


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _several(ids: Iterable[object]) -> list[object]:
    if ids is None or isinstance(ids, (str, bytes)):
        raise InputError(f"ids is {ids!r}; give a list of ids, such as ['7', '8']")
    return list(ids)
