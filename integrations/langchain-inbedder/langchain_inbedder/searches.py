"""Searches: the search methods of LangChain's VectorStore, over one view or several.

Each takes `SearchOptions` by keyword, and refuses what is none. Scores are cosines, higher is
nearer; those of several views are weighted sums of cosines, and have no fixed range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from inbedder_retrieval import Hit, InputError, ViewCollection
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from typing_extensions import Unpack

from langchain_inbedder.documents import to_langchain
from langchain_inbedder.options import SearchOptions, search_arguments, searched_views

__all__ = ["Searches"]

Scored: TypeAlias = "list[tuple[Document, float]]"
Vector: TypeAlias = "Sequence[float] | Mapping[str, Sequence[float]]"


class Searches(VectorStore):
    """What a store can be asked. A vector is (H,), or one for each of several views.

    Every method raises InputError for an option that there is not, UnknownView, ViewNotReady, and
    DocumentError for a filter that cannot be asked.
    """

    collection: ViewCollection
    view: str

    def similarity_search(  # type: ignore[override]  # No option is taken that is not used.
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[Document]:
        """Return the k documents whose answers are nearest to the query's, best first."""
        return _documents(self._search(query, k, options))

    async def asimilarity_search(  # type: ignore[override]
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[Document]:
        """As `similarity_search`."""
        return _documents(await self._asearch(query, k, options))

    def similarity_search_with_score(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> Scored:
        """Return the nearest documents with their cosines, or weighted sums of cosines."""
        return _scored(self._search(query, k, options))

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **options: Unpack[SearchOptions]
    ) -> Scored:
        """As `similarity_search_with_score`."""
        return _scored(await self._asearch(query, k, options))

    def similarity_search_by_vector(  # type: ignore[override]
        self, embedding: Vector, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[Document]:
        """Return the documents nearest to a vector that was embedded elsewhere."""
        return _documents(self._search(None, k, options, vector=embedding))

    async def asimilarity_search_by_vector(  # type: ignore[override]
        self, embedding: Vector, k: int = 4, **options: Unpack[SearchOptions]
    ) -> list[Document]:
        """As `similarity_search_by_vector`."""
        return _documents(await self._asearch(None, k, options, vector=embedding))

    def similarity_search_with_score_by_vector(
        self, embedding: Vector, k: int = 4, **options: Unpack[SearchOptions]
    ) -> Scored:
        """Return the documents nearest to a vector, with their scores."""
        return _scored(self._search(None, k, options, vector=embedding))

    async def asimilarity_search_with_score_by_vector(
        self, embedding: Vector, k: int = 4, **options: Unpack[SearchOptions]
    ) -> Scored:
        """As `similarity_search_with_score_by_vector`."""
        return _scored(await self._asearch(None, k, options, vector=embedding))

    def max_marginal_relevance_search(  # type: ignore[override]
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> list[Document]:
        """Return documents that are near the query and unlike each other.

        Args:
            fetch_k: of how many nearest documents they are chosen.
            lambda_mult: 1 is relevance alone, as in a plain search; 0 is difference alone.
        """
        wanted = _diverse(fetch_k, lambda_mult)
        return _documents(self._search(query, k, options, **wanted))

    async def amax_marginal_relevance_search(  # type: ignore[override]
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> list[Document]:
        """As `max_marginal_relevance_search`."""
        wanted = _diverse(fetch_k, lambda_mult)
        return _documents(await self._asearch(query, k, options, **wanted))

    def max_marginal_relevance_search_by_vector(  # type: ignore[override]
        self,
        embedding: Vector,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> list[Document]:
        """Return documents that are near a vector and unlike each other."""
        wanted = _diverse(fetch_k, lambda_mult)
        return _documents(self._search(None, k, options, vector=embedding, **wanted))

    async def amax_marginal_relevance_search_by_vector(  # type: ignore[override]
        self,
        embedding: Vector,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> list[Document]:
        """As `max_marginal_relevance_search_by_vector`."""
        wanted = _diverse(fetch_k, lambda_mult)
        return _documents(await self._asearch(None, k, options, vector=embedding, **wanted))

    # What `similarity_search_with_relevance_scores` of the core calls, score_threshold taken out.

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Any
    ) -> Scored:
        view = self._single(options)
        return _related(self._search(query, k, options), view)

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **options: Any
    ) -> Scored:
        view = self._single(options)
        return _related(await self._asearch(query, k, options), view)

    def _single(self, options: Mapping[str, Any]) -> str:
        views = searched_views(self.view, options)
        if len(views) != 1:
            raise InputError(
                f"relevance scores from 0 to 1 are asked for over the views {', '.join(views)}, "
                "and their weighted sum has no such range; search one view, or ask for "
                "similarity_search_with_score"
            )
        return views[0]

    def _search(
        self, query: str | None, k: int, options: Mapping[str, Any], **more: Any
    ) -> list[Hit]:
        return self.collection.search(**(search_arguments(self.view, query, k, options) | more))

    async def _asearch(
        self, query: str | None, k: int, options: Mapping[str, Any], **more: Any
    ) -> list[Hit]:
        asked = search_arguments(self.view, query, k, options) | more
        return await self.collection.asearch(**asked)


def _diverse(fetch_k: int, lambda_mult: float) -> dict[str, Any]:
    if not isinstance(lambda_mult, (int, float)) or not 0 <= lambda_mult <= 1:
        raise InputError(f"lambda_mult is {lambda_mult!r}; give a number from 0 to 1")
    return {"candidates": fetch_k, "diversity": 1 - lambda_mult}


def _documents(hits: Sequence[Hit]) -> list[Document]:
    return [to_langchain(hit) for hit in hits]


def _scored(hits: Sequence[Hit]) -> Scored:
    return [(to_langchain(hit), hit.score) for hit in hits]


def _related(hits: Sequence[Hit], view: str) -> Scored:
    """Give cosines of -1 to 1 as 0 to 1; rounding may leave either a digit outside."""
    return [(to_langchain(hit), min(1.0, max(0.0, (1 + hit.scores[view]) / 2))) for hit in hits]
