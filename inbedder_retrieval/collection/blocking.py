"""The calls of a collection: each runs to its end in the thread that makes it.

What each does is written in the module it is named for; here it is given a signature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inbedder_retrieval.collection.asked import Fusion, Search
from inbedder_retrieval.collection.contents import (
    clear_documents,
    delete_documents,
    describe,
    get_documents,
    scroll_documents,
    vectors_of,
)
from inbedder_retrieval.collection.copies import save_store
from inbedder_retrieval.collection.filters import WhereLike, parse_where
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.index import IndexReport, add_documents
from inbedder_retrieval.collection.lifecycle import (
    add_views,
    drop_view,
    rebuild_views,
    rename_view,
)
from inbedder_retrieval.collection.origin import CopyReport
from inbedder_retrieval.collection.registry import CollectionInfo
from inbedder_retrieval.collection.repair import Findings, examine, repair
from inbedder_retrieval.collection.search import search
from inbedder_retrieval.collection.store import Store
from inbedder_retrieval.documents import Document, Hit
from inbedder_retrieval.embeddings import OnLong, TextEmbedder
from inbedder_retrieval.views import Views, ViewsLike

__all__ = ["BlockingCalls"]


class BlockingCalls:
    """What `ViewCollection` offers to a thread."""

    _store: Store

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
        asked = None if views is None else Views.of(views)
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

    def scroll(
        self, *, filter: WhereLike | None = None, limit: int = 1_000, after: str | None = None
    ) -> tuple[list[Document], str | None]:
        """Return documents page by page, in the order of their points' ids.

        Args:
            filter: a condition on metadata.
            limit: how many documents at most.
            after: what the call before returned, to go on from there.

        Returns:
            The documents, and what to give as `after` next; None where there are no more.
        """
        where = None if filter is None else parse_where(filter)
        return run(scroll_documents(self._store, where, limit, after))

    def vectors(self, ids: Iterable[object], view: str) -> dict[str, NDArray[np.float32]]:
        """Return the stored unit vectors (H,) of a view, by document id.

        Ids that are not stored, or lack the view, are left out.

        Raises:
            UnknownView: there is none of this name.
        """
        return run(vectors_of(self._store, ids, view))

    def clear(self) -> int:
        """Delete every document and return how many there were; the views stay."""
        return run(clear_documents(self._store))

    def count(self, filter: WhereLike | None = None) -> int:
        """Count the documents, all or those that fit a filter."""
        return run(self._store.engine.count(None if filter is None else parse_where(filter)))

    def search(
        self,
        query: str | None = None,
        *,
        answer: str | Mapping[str, str] | None = None,
        vector: ArrayLike | Mapping[str, ArrayLike] | None = None,
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
            vector: a vector (H,) that was embedded elsewhere, or one for each view.
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
                told. Of ranks and diversity, pages with other numbers are of other rankings.
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
            vector=vector,
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

    def to_parquet(
        self, file: str | Path, *, progress: Callable[[int, int], None] | None = None
    ) -> CopyReport:
        """Write everything to a Parquet file: documents, vectors, and what the views ask.

        Args:
            file: a file that does not exist yet; it appears whole, or not at all.
            progress: called with the numbers of documents done and to be done.

        Raises:
            MissingExtraError: pyarrow is not installed.
            EngineError: the file cannot be written, or documents changed meanwhile.
        """
        return run(save_store(self._store, file, progress=progress))

    def alias(self, name: str) -> None:
        """Let another name on the server stand for this collection, from one moment to the next.

        A name that stood for another collection stands for this one from then on: so searches
        that are made by an alias go over to a new collection without a pause.

        Raises:
            EngineError: this is no server, or it refused.
        """
        run(self._store.engine.set_alias(name))

    def snapshot(self) -> str:
        """Have the server write a snapshot of the collection, and return its name.

        Snapshots are fetched from the server and restored there (Qdrant's documentation:
        Snapshots). A folder is kept by `copy`.

        Raises:
            EngineError: this is no server, or it refused.
        """
        return run(self._store.engine.snapshot())

    def check(self) -> Findings:
        """Look for what is wrong with the registry, the vectors and every document.

        Nothing is written.

        Raises:
            CollectionError: the registry cannot be read.
            EngineError: the engine refused.
        """
        return run(examine(self._store))

    def repair(self, findings: Findings, *, delete: bool = False) -> Findings:
        """Mend what `check` found, and return what is wrong still.

        Args:
            delete: also delete what belongs to no view and no document: named vectors that no view
                lists, points that hold no document, second points of one document.

        Raises:
            ModelMismatch, CheckpointError: the model of the views is not here; what needs none is
                mended.
            EngineError: the engine refused. What is mended stays; the same call goes on from there.
        """
        return run(repair(self._store, findings, delete=delete))

    def info(self) -> CollectionInfo:
        """Describe the collection."""
        return run(describe(self._store))
