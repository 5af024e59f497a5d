"""What a collection asks for, in qdrant-client's words, and what it answers, in ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from qdrant_client import models

from inbedder_retrieval.collection.conditions import Dialect, compile_where
from inbedder_retrieval.collection.engine import FoundPoint, Point, SearchRequest
from inbedder_retrieval.collection.filters import Where
from inbedder_retrieval.collection.requests import requests_of
from inbedder_retrieval.collection.storage import OVERSAMPLING, Storage

__all__ = [
    "DIALECT",
    "INDEX_KINDS",
    "OLDER",
    "by_shard",
    "filter_of",
    "found_of",
    "lists_of",
    "point_of",
    "quantization_of",
    "search_arguments",
]

DIALECT = Dialect(
    models,
    number_range=models.Range,
    time_range=models.DatetimeRange,
    has_id=lambda ids: models.HasIdCondition(has_id=list(ids)),
    substring=lambda text: models.MatchSubstring(substring=text),
)
# Before 1.20 a server has no match of this name; a match of text is one, without a text index.
OLDER = replace(DIALECT, substring=lambda text: models.MatchText(text=text))
INDEX_KINDS: dict[str, Any] = {
    "keyword": models.PayloadSchemaType.KEYWORD,
    "float": models.PayloadSchemaType.FLOAT,
    "bool": models.PayloadSchemaType.BOOL,
    "datetime": models.PayloadSchemaType.DATETIME,
    "tenant": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
}


def quantization_of(storage: Storage) -> models.QuantizationConfig | None:
    """Return the smaller copies that a storage asks for."""
    if storage.quantization == "scalar":
        return models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99)
        )
    if storage.quantization == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig())
    if storage.quantization == "turbo":
        return models.TurboQuantization(
            turbo=models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS4)
        )
    return None


def filter_of(
    where: Where | None, lacking: Sequence[str] = (), *, dialect: Dialect = DIALECT
) -> models.Filter | None:
    """Fit the points that fit `where` and do not have all of these vectors."""
    parts = [] if where is None else [cast("models.Filter", compile_where(where, dialect))]
    if lacking:
        has: list[models.Condition] = [models.HasVectorCondition(has_vector=n) for n in lacking]
        parts.append(models.Filter(must_not=[models.Filter(must=has)]))
    return models.Filter(must=cast("Any", parts)) if parts else None


def by_shard(points: Sequence[Point]) -> Iterator[tuple[str | None, list[Point]]]:
    """Part points into requests that a server takes, each for one shard key."""
    ordered = sorted(points, key=lambda point: point.shard or "")
    for shard, group in groupby(ordered, key=lambda point: point.shard):
        for batch in requests_of(list(group)):
            yield shard, batch


def point_of(record: models.Record) -> Point:
    """Return a record as a point."""
    shard = None if record.shard_key is None else str(record.shard_key)
    return Point(str(record.id), dict(record.payload or {}), _arrays(record.vector), shard)


def lists_of(point: Point) -> Any:
    """Return a point's vectors as lists of numbers by name."""
    return {name: vector.tolist() for name, vector in point.vectors.items()}


def found_of(point: models.ScoredPoint) -> FoundPoint:
    """Return what a search found."""
    vectors = _arrays(point.vector)
    return FoundPoint(str(point.id), dict(point.payload or {}), vectors, point.score)


def _arrays(vectors: Any) -> dict[str, NDArray[np.float32]]:
    found = cast("Mapping[str, Any]", vectors or {})
    return {name: np.asarray(vector, dtype=np.float32) for name, vector in found.items()}


def search_arguments(request: SearchRequest, *, dialect: Dialect, server: bool) -> dict[str, Any]:
    """Return what `query_points` is called with.

    A sum is a formula over one prefetch a view, whose inner prefetches hold the candidates of all
    views: every candidate is scored exactly under every view (Qdrant's documentation: Hybrid
    queries, Score boosting).
    """
    queries, conditions = request.queries, filter_of(request.where, dialect=dialect)
    # Local mode compares with every point, and warns of parameters it has no use for.
    parameters = _parameters(request) if server else None
    named: dict[str, Any] = {
        "limit": request.limit,
        "with_vectors": list(request.vectors),
        "search_params": parameters,
        "shard_key_selector": request.shard,
    }
    nearest = [(query.vector.tolist(), query.vector_name) for query in queries]
    if len(nearest) == 1:
        [(vector, name)] = nearest
        return {"query": vector, "using": name, "query_filter": conditions, **named}
    count = request.candidates
    inner = [
        models.Prefetch(query=vector, using=name, filter=conditions, params=parameters, limit=count)
        for vector, name in nearest
    ]
    outer = [
        models.Prefetch(
            prefetch=inner, query=vector, using=name, params=parameters, limit=count * len(nearest)
        )
        for vector, name in nearest
    ]
    variables = [f"$score[{number}]" for number in range(len(nearest))]
    terms: list[models.Expression] = [
        models.MultExpression(mult=[query.weight, variable])
        for query, variable in zip(queries, variables, strict=True)
    ]
    formula = models.FormulaQuery(
        formula=models.SumExpression(sum=terms), defaults=dict.fromkeys(variables, 0.0)
    )
    return {"prefetch": outer, "query": formula, **named}


def _parameters(request: SearchRequest) -> models.SearchParams:
    return models.SearchParams(
        exact=request.exact,
        # Compared with every point, but with its smaller copy, would not be exact.
        quantization=models.QuantizationSearchParams(
            ignore=request.exact, rescore=True, oversampling=OVERSAMPLING
        ),
    )
