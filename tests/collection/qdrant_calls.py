"""Calls that every qdrant-client answers alike, whatever lies between it and local mode."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import numpy as np
from pydantic_core import to_jsonable_python
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from tests.collection.qdrant_points import COSINE, NAME, QUERY

RAISED = (UnexpectedResponse, grpc.RpcError, ValueError, KeyError)
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
}
RANDOM = np.random.default_rng(7)
UUIDS = [str(uuid.UUID(int=number)) for number in range(6)]


def vector() -> list[float]:
    return [float(number) for number in RANDOM.standard_normal(4).astype(np.float32)]


POINTS = [
    models.PointStruct(
        id=number if number % 2 else UUIDS[number // 2],
        vector={"a": vector(), "b": vector()} if number % 3 else {"a": vector()},
        payload={"n": number, "k": "xyz"[number % 3], "deep": {"l": [1, None, {"ü": "\u2028"}]}},
    )
    for number in range(12)
]
OTHER = vector()
LACKING = models.Filter(must_not=[models.HasVectorCondition(has_vector="b")])
SOME = models.Filter(
    must=[models.FieldCondition(key="n", range=models.Range(gte=2))],
    should=[
        models.FieldCondition(key="k", match=models.MatchAny(any=["x", "y"])),
        models.HasIdCondition(has_id=[UUIDS[0], 11]),
    ],
)
FORMULA = models.FormulaQuery(
    formula=models.SumExpression(
        sum=[
            models.MultExpression(mult=[0.5, "$score[0]"]),
            models.MultExpression(mult=[2.0, "$score[1]"]),
        ]
    ),
    defaults={"$score[0]": 0.0, "$score[1]": 0.0},
)
PREFETCH = [
    models.Prefetch(query=QUERY, using="a", limit=5, filter=SOME),
    models.Prefetch(query=OTHER, using="b", limit=5),
]
EVERYTHING = {"limit": 100, "with_payload": True, "with_vectors": True}
IDS = models.PointIdsList(points=[UUIDS[1], 3])

# What is called, in this order, on every client; the collection's name is put in.
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("collection_exists", {}),
    ("count", {}),
    (
        "create_collection",
        {
            "vectors_config": {"a": models.VectorParams(size=4, distance=COSINE)},
            "metadata": {"inbedder": {"format": 1, "ö": [1, None, 2.5]}, "gone": 1},
        },
    ),
    ("collection_exists", {}),
    ("create_collection", {"vectors_config": {}}),
    ("update_collection", {"metadata": {"gone": None, "new": {"er": {}}}}),
    (
        "create_vector_name",
        {
            "vector_name": "b",
            "vector_name_config": models.DenseVectorNameConfig(
                dense=models.DenseVectorConfig(size=4, distance=COSINE)
            ),
        },
    ),
    (
        "create_vector_name",
        {
            "vector_name": "b",
            "vector_name_config": models.DenseVectorNameConfig(
                dense=models.DenseVectorConfig(size=5, distance=COSINE)
            ),
        },
    ),
    ("upsert", {"points": POINTS[:8]}),
    (
        "upsert",
        {
            "points": models.Batch(
                ids=[point.id for point in POINTS[8:]],
                vectors={"a": [point.vector["a"] for point in POINTS[8:]]},  # type: ignore[index,call-overload]
                payloads=[point.payload or {} for point in POINTS[8:]],
            )
        },
    ),
    ("upsert", {"points": [models.PointStruct(id=1, vector={"a": [1.0]})]}),
    ("upsert", {"points": [models.PointStruct(id=1, vector={"c": QUERY})]}),
    ("upsert", {"points": [models.PointStruct(id="no uuid", vector={"a": QUERY})]}),
    ("upsert", {"points": []}),
    ("scroll", EVERYTHING),
    ("scroll", {"limit": 3, "with_payload": ["deep.l"], "scroll_filter": SOME}),
    ("scroll", {"limit": 3, "offset": UUIDS[2], "with_payload": False}),
    ("scroll", {"limit": 0}),
    ("retrieve", {"ids": [3, UUIDS[1], 77], "with_vectors": ["b"]}),
    ("retrieve", {"ids": []}),
    ("count", {}),
    ("count", {"count_filter": SOME}),
    ("count", {"count_filter": LACKING}),
    ("query_points", {"query": QUERY, "using": "a", "limit": 4, "with_vectors": ["a", "b"]}),
    ("query_points", {"query": QUERY, "using": "a", "query_filter": SOME, "score_threshold": 0.1}),
    ("query_points", {"query": 3, "using": "a", "limit": 4, "offset": 2, "with_payload": False}),
    ("query_points", {"query": QUERY, "using": "nowhere"}),
    ("query_points", {"query": QUERY, "using": "a", "limit": 0}),
    ("query_points", {"prefetch": PREFETCH, "query": FORMULA, "limit": 9}),
    ("query_points", {"prefetch": PREFETCH, "query": models.RrfQuery(rrf=models.Rrf(k=3))}),
    (
        "query_points",
        {
            "query": models.NearestQuery(
                nearest=QUERY, mmr=models.Mmr(diversity=0.4, candidates_limit=10)
            ),
            "using": "a",
            "limit": 4,
        },
    ),
    (
        "query_batch_points",
        {
            "requests": [
                models.QueryRequest(query=QUERY, using="a", limit=2, with_payload=["n"]),
                models.QueryRequest(query=OTHER, using="b", limit=3, filter=SOME),
            ]
        },
    ),
    ("query_points_groups", {"group_by": "k", "query": QUERY, "using": "a", "group_size": 2}),
    ("search_matrix_pairs", {"sample": 100, "limit": 2, "using": "a"}),
    (
        "update_vectors",
        {
            "points": [models.PointVectors(id=p.id, vector={"b": OTHER}) for p in POINTS],
            "update_filter": LACKING,
        },
    ),
    ("update_vectors", {"points": [models.PointVectors(id=77, vector={"b": OTHER})]}),
    (
        "update_vectors",
        {"points": [models.PointVectors(id=i, vector={"b": QUERY}) for i in (78, 5)]},
    ),
    ("scroll", EVERYTHING),
    ("delete_vectors", {"vectors": ["b"], "points": [5, UUIDS[1]]}),
    ("delete_vectors", {"vectors": ["b"], "points": SOME}),
    ("set_payload", {"payload": {"n": None, "new": 1}, "points": [5]}),
    ("set_payload", {"payload": {"er": 1}, "points": SOME, "key": "deep"}),
    ("overwrite_payload", {"payload": {"n": 3}, "points": IDS}),
    ("overwrite_payload", {"payload": {"n": 3}, "points": [99]}),
    ("delete_payload", {"keys": ["deep.er", "k"], "points": [5, 7]}),
    ("clear_payload", {"points_selector": [7]}),
    (
        "batch_update_points",
        {
            "update_operations": [
                models.UpsertOperation(
                    upsert=models.PointsList(
                        points=[models.PointStruct(id=50, vector={"a": QUERY}, payload={"n": 50})]
                    )
                ),
                models.OverwritePayloadOperation(
                    overwrite_payload=models.SetPayload(payload={"n": 51}, points=[50])
                ),
                models.DeleteOperation(delete=models.PointIdsList(points=[9])),
            ]
        },
    ),
    ("scroll", EVERYTHING),
    ("delete", {"points_selector": models.PointIdsList(points=[1, 77])}),
    ("delete", {"points_selector": models.FilterSelector(filter=SOME)}),
    ("delete", {"points_selector": []}),
    ("delete_vector_name", {"vector_name": "b"}),
    ("delete_vector_name", {"vector_name": "b"}),
    ("scroll", EVERYTHING),
    ("get_collection_aliases", {}),
    ("delete_collection", {}),
    ("delete_collection", {}),
    ("scroll", EVERYTHING),
]


def told(result: Any) -> Any:
    """An answer as JSON, less the number of the write, which local mode does not count."""
    if isinstance(result, list):
        return [told(part) for part in result]
    if isinstance(result, models.UpdateResult):
        return result.status
    return to_jsonable_python(result)


def refused(error: Exception) -> str:
    """A refusal: a status of 4xx or a code of gRPC, or what local mode raises for one."""
    if isinstance(error, UnexpectedResponse):
        assert error.status_code is not None
        assert 400 <= error.status_code < 500, str(error)
    if isinstance(error, grpc.RpcError):
        assert error.code() in REFUSALS, str(error)
    return "refused"


def play(client: QdrantClient, calls: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    """Call one after the other, and return each answer or refusal."""
    answers: list[Any] = []
    for method, given in calls:
        try:
            answers.append(told(getattr(client, method)(collection_name=NAME, **given)))
        except RAISED as error:
            answers.append(refused(error))
    client.close()
    return answers


async def play_async(
    client: AsyncQdrantClient, calls: list[tuple[str, dict[str, Any]]]
) -> list[Any]:
    """Do as `play`, and await each answer."""
    answers: list[Any] = []
    for method, given in calls:
        try:
            answers.append(told(await getattr(client, method)(collection_name=NAME, **given)))
        except RAISED as error:
            answers.append(refused(error))
    await client.close()
    return answers
