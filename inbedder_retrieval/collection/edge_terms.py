"""What a collection asks for, in Qdrant Edge's words, and what it answers, in ours."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from inbedder_retrieval.collection.conditions import Dialect, compile_where
from inbedder_retrieval.collection.engine import FoundPoint, Point, SearchRequest, VectorQuery
from inbedder_retrieval.collection.filters import Where
from inbedder_retrieval.collection.storage import OVERSAMPLING, Storage

__all__ = [
    "INDEX_KINDS",
    "buffers_of",
    "config_of",
    "filter_of",
    "found_of",
    "nearest_queries",
    "point_of",
    "search_query",
]

# Edge takes a plain True for the integer 1; NumPy's it knows.
DIALECT = Dialect(
    edge,
    number_range=edge.RangeFloat,
    time_range=edge.RangeDateTime,
    has_id=lambda ids: edge.HasIdCondition(set(ids)),
    substring=lambda text: edge.MatchSubstring(substring=text),
    boolean=np.bool_,
    moment=datetime.isoformat,
)
INDEX_KINDS = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
    "datetime": edge.PayloadSchemaType.Datetime,
    # A folder has no tenants' shards or segments to keep apart.
    "tenant": edge.PayloadSchemaType.Keyword,
}


def config_of(vectors: Mapping[str, int], storage: Storage) -> edge.EdgeConfig:
    """Return the configuration of a new shard."""
    graph = None
    if storage.hnsw_m is not None or storage.hnsw_ef_construct is not None:
        # What is left out is Qdrant's own default.
        m, ef = storage.hnsw_m, storage.hnsw_ef_construct
        graph = edge.HnswIndexConfig(16 if m is None else m, ef or 100, 10_000)
    smaller: dict[str, Any] = {
        "scalar": edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=0.99),
        "binary": edge.BinaryQuantizationConfig(),
        "turbo": edge.TurboQuantQuantizationConfig(),
    }
    quantization = None if storage.quantization is None else smaller[storage.quantization]
    return edge.EdgeConfig(
        vectors={
            name: edge.EdgeVectorParams(
                size=width, distance=edge.Distance.Cosine, on_disk=storage.on_disk or None
            )
            for name, width in vectors.items()
        },
        hnsw_config=graph,
        quantization_config=quantization,
    )


def filter_of(where: Where | None, lacking: Sequence[str] = ()) -> edge.Filter | None:
    """Fit the points that fit `where` and do not have all of these vectors."""
    parts = [] if where is None else [cast("edge.Filter", compile_where(where, DIALECT))]
    if lacking:
        has = edge.Filter(must=[edge.HasVectorCondition(name) for name in lacking])
        parts.append(edge.Filter(must_not=[has]))
    if len(parts) < 2:
        # A filter within a filter takes Edge longer.
        return parts[0] if parts else None
    return edge.Filter(must=cast("Any", parts))


def point_of(record: edge.Record) -> Point:
    """Return a record as a point."""
    return Point(str(record.id), dict(record.payload or {}), _arrays(record.vector))


def found_of(point: edge.ScoredPoint) -> FoundPoint:
    """Return what a search found."""
    vectors = _arrays(point.vector)
    return FoundPoint(str(point.id), dict(point.payload or {}), vectors, point.score)


def _arrays(vectors: Any) -> dict[str, NDArray[np.float32]]:
    found = cast("Mapping[str, Any]", vectors or {})
    return {name: np.asarray(vector, dtype=np.float32) for name, vector in found.items()}


def nearest_queries(request: SearchRequest) -> edge.QueryBatchRequest:
    """Return what finds the candidates of a sum: the nearest points of each query, ids alone."""
    return edge.QueryBatchRequest(
        [
            edge.QueryRequest(
                query=_nearest(query),
                filter=filter_of(request.where),
                limit=request.candidates,
                params=_parameters(request),
            )
            for query in request.queries
        ]
    )


def search_query(request: SearchRequest, candidates: Collection[Any] = ()) -> edge.QueryRequest:
    """Return what the shard is asked: the nearest of one query, or a sum over candidates.

    The sum is a formula over one prefetch a view, each of which scores all candidates: so every
    candidate is scored exactly under every view.
    """
    prefetches: list[edge.Prefetch] = []
    best: Any = _nearest(request.queries[0])
    conditions = filter_of(request.where)
    if len(request.queries) > 1:
        among = edge.Filter(must=[edge.HasIdCondition(set(candidates))])
        conditions = None
        prefetches = [
            edge.Prefetch(
                query=_nearest(query),
                filter=among,
                limit=len(candidates),
                # All of them are wanted, so none is looked for along a graph.
                params=edge.SearchParams(exact=True),
            )
            for query in request.queries
        ]
        variables = [f"$score[{number}]" for number in range(len(request.queries))]
        terms = [
            edge.Expression.Mult(
                [edge.Expression.Constant(query.weight), edge.Expression.Variable(variable)]
            )
            for query, variable in zip(request.queries, variables, strict=True)
        ]
        best = edge.Formula(edge.Expression.Sum(terms), defaults=dict.fromkeys(variables, 0.0))
    return edge.QueryRequest(
        prefetches=prefetches,
        query=best,
        filter=conditions,
        limit=request.limit,
        params=_parameters(request),
        with_vector=list(request.vectors),
        with_payload=True,
    )


def _nearest(query: VectorQuery) -> edge.Query:
    return edge.Query.Nearest(cast("Any", query.vector), using=query.vector_name)


def _parameters(request: SearchRequest) -> edge.SearchParams:
    return edge.SearchParams(
        exact=request.exact,
        # Compared with every point, but with its smaller copy, would not be exact.
        quantization=edge.QuantizationSearchParams(
            ignore=request.exact, rescore=True, oversampling=OVERSAMPLING
        ),
    )


def buffers_of(point: Point) -> Any:
    """Return a point's vectors as Edge reads them fastest: as buffers of float32."""
    # Given arrays, it asks NumPy for each number by itself.
    return {
        name: np.asarray(vector, dtype=np.float32).data for name, vector in point.vectors.items()
    }
