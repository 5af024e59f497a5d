"""Reads on the test servers: each REST request model to a call of local mode, and its answer.

Two rules of a server that local mode has not are kept here: `facet` needs an index that matches,
`order_by` one that ranges. Settings of an approximate search are left out, as every search of
local mode is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from qdrant_client.http import models

from tests.collection.qdrant_shards import Refused, id_of, within
from tests.collection.qdrant_store import Store, index_kind, refusals

RANGES = {"integer", "float", "datetime"}
MATCHES = {"keyword", "integer", "bool", "uuid"}

Found = TypeVar("Found", models.Record, models.ScoredPoint)


def retrieve(store: Store, name: str, asked: models.PointRequest) -> list[models.Record]:
    name, record = store.find(name)
    members = record.shards.members(asked.shard_key)
    ids = [point for point in asked.ids if members is None or id_of(point) in members]
    with refusals():
        found = store.local.retrieve(
            name, ids, _payload(asked.with_payload, True), asked.with_vector or False
        )
    return _marked(store, name, found)


def scroll(store: Store, name: str, asked: models.ScrollRequest) -> models.ScrollResult:
    name, _ = store.find(name)
    order = asked.order_by
    if order is not None:
        order = models.OrderBy(key=order) if isinstance(order, str) else order
        _check_range(store, name, order.key)
    with refusals():
        found, following = store.local.scroll(
            name,
            scroll_filter=_select(store, name, asked.shard_key, asked.filter),
            limit=10 if asked.limit is None else asked.limit,
            order_by=order,
            offset=asked.offset,
            with_payload=_payload(asked.with_payload, True),
            with_vectors=asked.with_vector or False,
        )
    return models.ScrollResult(points=_marked(store, name, found), next_page_offset=following)


def count(store: Store, name: str, asked: models.CountRequest) -> models.CountResult:
    name, _ = store.find(name)
    with refusals():
        return store.local.count(name, _select(store, name, asked.shard_key, asked.filter))


def facet(store: Store, name: str, asked: models.FacetRequest) -> models.FacetResponse:
    name, record = store.find(name)
    schema = record.indexes.get(asked.key)
    if schema is None or index_kind(schema).value not in MATCHES:
        raise Refused(400, f"Wrong input: No appropriate index for faceting: `{asked.key}`")
    with refusals():
        return store.local.facet(
            name,
            asked.key,
            facet_filter=_select(store, name, asked.shard_key, asked.filter),
            limit=10 if asked.limit is None else asked.limit,
        )


def query(store: Store, name: str, asked: models.QueryRequest) -> models.QueryResponse:
    name, _ = store.find(name)
    with refusals():
        found = store.local.query_points(
            name,
            limit=10 if asked.limit is None else asked.limit,
            offset=asked.offset,
            **_search(store, name, asked),
        )
    return models.QueryResponse(points=_marked(store, name, found.points))


def query_batch(
    store: Store, name: str, asked: Sequence[models.QueryRequest]
) -> list[models.QueryResponse]:
    return [query(store, name, request) for request in asked]


def query_groups(store: Store, name: str, asked: models.QueryGroupsRequest) -> models.GroupsResult:
    name, _ = store.find(name)
    with refusals():
        found = store.local.query_points_groups(
            name,
            asked.group_by,
            limit=10 if asked.limit is None else asked.limit,
            group_size=3 if asked.group_size is None else asked.group_size,
            with_lookup=asked.with_lookup,
            **_search(store, name, asked),
        )
    for group in found.groups:
        group.hits = _marked(store, name, group.hits)
    return found


def matrix(store: Store, name: str, asked: models.SearchMatrixRequest, *, pairs: bool) -> Any:
    """Return the distances between a sample of points, as pairs or as offsets."""
    name, _ = store.find(name)
    call = store.local.search_matrix_pairs if pairs else store.local.search_matrix_offsets
    with refusals():
        return call(
            name,
            query_filter=_select(store, name, asked.shard_key, asked.filter),
            limit=3 if asked.limit is None else asked.limit,
            sample=10 if asked.sample is None else asked.sample,
            using=asked.using,
        )


def _search(
    store: Store, name: str, asked: models.QueryRequest | models.QueryGroupsRequest
) -> dict[str, Any]:
    if isinstance(asked.query, models.OrderByQuery):
        order = asked.query.order_by
        _check_range(store, name, order if isinstance(order, str) else order.key)
    idf = None if asked.params is None else asked.params.idf
    return {
        "query": asked.query,
        "using": asked.using,
        "prefetch": asked.prefetch,
        "query_filter": _select(store, name, asked.shard_key, asked.filter),
        "search_params": None if idf is None else models.SearchParams(idf=idf),
        "with_payload": _payload(asked.with_payload, False),
        "with_vectors": asked.with_vector or False,
        "score_threshold": asked.score_threshold,
        "lookup_from": asked.lookup_from,
    }


def _payload(asked: Any, default: bool) -> Any:
    # An empty list of keys is not the same as nothing asked.
    return default if asked is None else asked


def _select(
    store: Store, name: str, selector: Any, chosen: models.Filter | None
) -> models.Filter | None:
    members = store.find(name)[1].shards.members(selector)
    return chosen if members is None else within(chosen, members)


def _marked(store: Store, name: str, points: Sequence[Found]) -> list[Found]:
    lying = store.find(name)[1].shards.of
    return [point.model_copy(update={"shard_key": lying.get(point.id)}) for point in points]


def _check_range(store: Store, name: str, path: str) -> None:
    schema = store.find(name)[1].indexes.get(path)
    if schema is None or index_kind(schema).value not in RANGES:
        raise Refused(400, f"Wrong input: No range index for `order_by` key: `{path}`")
