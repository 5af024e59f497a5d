"""LlamaIndex's queries as searches of a collection. Nothing here talks to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from inbedder_retrieval import InputError, Where
from llama_index.vector_stores.inbedder.filters import from_source

__all__ = ["search_arguments"]

MODES = (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR, VectorStoreQueryMode.HYBRID)
# What of `ViewCollection.search` may be given with a query besides what LlamaIndex has words for.
SEARCH_OPTIONS = {
    *("answer", "vector", "like", "unlike", "view", "views", "fusion", "filter", "threshold"),
    *("candidates", "exact", "allow_partial", "mmr_threshold"),
}
# LlamaIndex's own where a query says nothing.
MMR_THRESHOLD = 0.5


def search_arguments(
    query: VectorStoreQuery,
    options: Mapping[str, Any],
    where: Where | None,
    *,
    view: str,
    weights: Mapping[str, float],
    by_embedding: bool = False,
) -> dict[str, Any]:
    """Return what `ViewCollection.search` is called with.

    Args:
        options: given beside the query, by the names that `search` has, and `mmr_threshold`.
        where: what the query's filters stand for.
        view: the view to search where neither the query nor an option names one.
        weights: the views of a hybrid search, likewise.
        by_embedding: whether a query that has both is looked for by its embedding.

    Raises:
        InputError: there is no such mode or option, or nothing to look for.
    """
    _check(query, options)
    asked = {name: given for name, given in options.items() if name != "mmr_threshold"}
    asked["limit"] = query.similarity_top_k
    if asked.get("view") is None and asked.get("views") is None:
        if query.mode == VectorStoreQueryMode.HYBRID:
            asked["views"] = dict(weights)
            asked["limit"] = query.hybrid_top_k or query.similarity_top_k
        else:
            asked["view"] = query.embedding_field or view
    if not asked.keys() & {"answer", "vector", "like"}:
        single = asked.get("view") is not None
        asked |= _looked_for(query, single=single, by_embedding=by_embedding)
    if query.mode == VectorStoreQueryMode.MMR:
        given = (options.get("mmr_threshold"), query.mmr_threshold, MMR_THRESHOLD)
        asked["diversity"] = 1 - next(one for one in given if one is not None)
    conditions = [
        where,
        options.get("filter"),
        from_source(query.doc_ids) if query.doc_ids else None,
        Where.ids(query.node_ids) if query.node_ids else None,
    ]
    if parts := [one for one in conditions if one is not None]:
        asked["filter"] = parts[0] if len(parts) == 1 else {"$and": parts}
    return asked


def _check(query: VectorStoreQuery, options: Mapping[str, Any]) -> None:
    if unknown := sorted(options.keys() - SEARCH_OPTIONS):
        raise InputError(
            f"a query has no option {unknown[0]!r}; there are {', '.join(sorted(SEARCH_OPTIONS))}"
        )
    if query.mode not in MODES:
        raise InputError(
            f"there is no query mode {str(query.mode)!r} here; choose default, mmr or hybrid "
            "(several views)"
        )
    if query.alpha is not None or query.sparse_top_k is not None:
        raise InputError(
            "alpha and sparse_top_k weigh keywords against vectors, and there are no keywords "
            "here; weigh views with views={'need': 0.7, 'general': 0.3}"
        )


def _looked_for(query: VectorStoreQuery, *, single: bool, by_embedding: bool) -> dict[str, Any]:
    # One vector cannot stand for a query in several views; and where LlamaIndex was not told to
    # embed, one beside the text was left there by another retriever.
    wanted = by_embedding or query.query_str is None
    if query.query_embedding is not None and single and wanted:
        return {"vector": query.query_embedding}
    if query.query_str is None:
        raise InputError(
            "the query has neither text nor, for a single view, an embedding; give query_str"
        )
    return {"query": query.query_str}
