"""InBedderRetriever: LlamaIndex's retriever over one view of a store, or several with weights."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import (
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from numpy.typing import NDArray

from inbedder_retrieval import InputError, ViewCollection, Views
from llama_index.vector_stores.inbedder import InBedderVectorStore

__all__ = ["InBedderRetriever"]


class InBedderRetriever(BaseRetriever):
    """Retrieves the nodes whose answers are nearest to the query's.

    Where a query has several texts to embed, as after `HyDEQueryTransform`, their mean vector is
    looked for. An embedding that a query brings is not, unless told: LlamaIndex's own retrievers
    leave theirs in the query, also where others are asked after them.

    Args:
        store: a store, or a collection, whose first view is then searched unless told.
        view: the view to search; None takes the store's.
        views: several views with weights, in its place.
        similarity_top_k: how many nodes at most.
        filters: conditions on metadata.
        fusion: how several views are joined: `sum` of cosines, or of reciprocal `ranks`.
        mmr_threshold: choose nodes that are unlike each other: 1 for relevance alone, 0 for
            difference alone.
        threshold: the least score of a node.
        queries: what a query is: a `text` like the nodes', the `answer` that they are to give, or
            the `embedding` that it brings, which must be of this view's question and model.
        callback_manager, object_map, objects, verbose: as LlamaIndex has them.

    Raises:
        InputError: both a view and several are given, or an embedding is to be looked for in
            several views; or, when a query is asked, it brings none.
        UnknownView: there is no such view.
    """

    def __init__(
        self,
        store: InBedderVectorStore | ViewCollection,
        *,
        view: str | None = None,
        views: Mapping[str, float] | None = None,
        similarity_top_k: int = 10,
        filters: MetadataFilters | None = None,
        fusion: Literal["sum", "ranks"] = "sum",
        mmr_threshold: float | None = None,
        threshold: float | None = None,
        queries: Literal["text", "answer", "embedding"] = "text",
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        objects: list[IndexNode] | None = None,
        verbose: bool = False,
    ) -> None:
        if view is not None and views is not None:
            raise InputError("both view and views are given; name one view, or several")
        if isinstance(store, ViewCollection):
            store = InBedderVectorStore(store, view=view, views=views)
        elif view is not None or views is not None:
            # Checks that they are there.
            InBedderVectorStore(store.client, view=view, views=views)
        if queries == "embedding" and views is not None and len(views) > 1:
            raise InputError("one embedding cannot stand for a query in several views; name one")
        self._store = store
        self._weights = dict(views) if views is not None else {view or store.view: 1.0}
        self._similarity_top_k = similarity_top_k
        self._filters = filters
        self._mmr_threshold = mmr_threshold
        self._queries = queries
        self._options: dict[str, Any] = {"fusion": fusion, "threshold": threshold}
        super().__init__(
            callback_manager=callback_manager,
            object_map=object_map,
            objects=objects,
            verbose=verbose,
        )

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        query, options = self._asked(query_bundle)
        return _scored(self._store.query(query, **options))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        # Several texts are embedded here.
        query, options = await asyncio.to_thread(self._asked, query_bundle)
        return _scored(await self._store.aquery(query, **options))

    def _asked(self, bundle: QueryBundle) -> tuple[VectorStoreQuery, dict[str, Any]]:
        diverse = self._mmr_threshold is not None
        query = VectorStoreQuery(
            query_str=bundle.query_str,
            similarity_top_k=self._similarity_top_k,
            filters=self._filters,
            mode=VectorStoreQueryMode.MMR if diverse else VectorStoreQueryMode.DEFAULT,
            mmr_threshold=self._mmr_threshold,
        )
        options = dict(self._options)
        if len(self._weights) == 1:
            [options["view"]] = self._weights
        else:
            options["views"] = self._weights
        texts = bundle.embedding_strs
        if self._queries == "embedding":
            if bundle.embedding is None:
                raise InputError("the query brings no embedding; give QueryBundle(embedding=...)")
            options["vector"] = bundle.embedding
        elif self._queries == "answer" and len(texts) == 1:
            options["answer"] = texts[0]
        elif texts != [bundle.query_str]:
            options["vector"] = self._mean(texts)
        return query, options

    def _mean(self, texts: list[str]) -> dict[str, NDArray[np.float32]]:
        collection = self._store.client
        embedder = collection.embedder
        views = Views(collection.views[name] for name in self._weights)
        answers = self._queries == "answer"
        found = embedder.embed_answers(texts, views) if answers else embedder.embed(texts, views)
        return {name: vectors.mean(axis=0) for name, vectors in found.items()}


def _scored(result: VectorStoreQueryResult) -> list[NodeWithScore]:
    pairs = zip(result.nodes or [], result.similarities or [], strict=True)
    return [NodeWithScore(node=node, score=score) for node, score in pairs]
