"""InBedderRetriever: a LangChain retriever over one view of a collection, or several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from inbedder_retrieval import ViewCollection, Where
from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, InstanceOf, model_validator
from typing_extensions import Self

from langchain_inbedder.store import InBedderVectorStore

__all__ = ["InBedderRetriever"]


class InBedderRetriever(BaseRetriever):
    """Finds the documents whose answers are nearest to the query's.

    Every field but the collection, and every option of `SearchOptions`, can be given anew by
    keyword to a call: `retriever.invoke("...", view="need", k=2)`. A call's `view` goes before
    the retriever's `views`, and the other way round.

    Attributes:
        collection: what is searched.
        view: the view to search; None, without `views`, takes the first.
        views: several views with weights.
        k: how many documents at most.
        filter: a condition on metadata (see `filters.py`).
        fusion: how several views are joined: the `sum` of weighted cosines, or `ranks`.
        as_answer: the query is the answer that the documents are to give, such as "a refund".
        score_threshold: the least score, a cosine or a weighted sum of cosines.
        lambda_mult: choose documents by maximal marginal relevance: 1 is relevance alone, 0 is
            difference alone. None takes the nearest.
        fetch_k: of how many nearest documents they are chosen then.

    Raises:
        UnknownView: the collection has no such view.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    collection: ViewCollection
    view: str | None = None
    views: dict[str, float] | None = None
    k: int = 4
    # Not as Where alone: pydantic would make one of a dict with the keys of its fields.
    filter: InstanceOf[Where] | Mapping[str, Any] | None = None
    fusion: Literal["sum", "ranks"] = "sum"
    as_answer: bool = False
    score_threshold: float | None = None
    lambda_mult: float | None = None
    fetch_k: int = 20

    @model_validator(mode="after")
    def _check_views(self) -> Self:
        for name in self.views or [self.view]:
            InBedderVectorStore(self.collection, view=name)
        return self

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **overrides: Any
    ) -> list[Document]:
        store, options = self._asked(overrides)
        if options.get("lambda_mult") is None:
            return store.similarity_search(query, **_near(options))
        return store.max_marginal_relevance_search(query, **options)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **overrides: Any
    ) -> list[Document]:
        store, options = self._asked(overrides)
        if options.get("lambda_mult") is None:
            return await store.asimilarity_search(query, **_near(options))
        return await store.amax_marginal_relevance_search(query, **options)

    def _asked(self, overrides: Mapping[str, Any]) -> tuple[InBedderVectorStore, dict[str, Any]]:
        own = {name: getattr(self, name) for name in OWN}
        if overrides.get("view") is not None or overrides.get("views") is not None:
            own["view"] = own["views"] = None
        return InBedderVectorStore(self.collection), {**own, **overrides}


OWN = (
    "view",
    "views",
    "k",
    "filter",
    "fusion",
    "as_answer",
    "score_threshold",
    "lambda_mult",
    "fetch_k",
)


def _near(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a plain search, which chooses by nearness alone."""
    return {name: one for name, one in options.items() if name not in ("lambda_mult", "fetch_k")}
