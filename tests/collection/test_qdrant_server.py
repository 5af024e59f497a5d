"""The test server speaks Qdrant's REST API: both remote clients get what local mode answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from tests.collection.qdrant_calls import CALLS, OTHER, play, play_async
from tests.collection.qdrant_points import COSINE, NAME, QUERY, a_collection, some_points, status_of
from tests.collection.qdrant_server import QdrantServer


def test_both_remote_clients_answer_as_local_mode_does() -> None:
    expected = play(QdrantClient(":memory:"), CALLS)
    assert expected.count("refused") == 15
    with QdrantServer() as server:
        found = play(QdrantClient(url=server.url, check_compatibility=False), CALLS)
    with QdrantServer() as server:
        client = AsyncQdrantClient(url=server.url, check_compatibility=False)
        found_async = asyncio.run(play_async(client, CALLS))
    for number, (method, _) in enumerate(CALLS):
        assert found[number] == expected[number], f"{number}: {method}"
        assert found_async[number] == expected[number], f"{number}: {method}, async"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
COMPONENT = st.floats(-9, 9, width=32).filter(lambda number: abs(number) > 1e-3)


@settings(max_examples=40, deadline=None)
@given(
    vectors=st.lists(st.lists(COMPONENT, min_size=3, max_size=3), min_size=1, max_size=5),
    payload=st.dictionaries(st.text(), JSON, max_size=3),
    asked=st.lists(COMPONENT, min_size=3, max_size=3),
)
def test_payloads_come_back_and_scores_are_cosines(
    one_server: QdrantServer,
    vectors: list[list[float]],
    payload: dict[str, Any],
    asked: list[float],
) -> None:
    client = QdrantClient(url=one_server.url, check_compatibility=False)
    client.delete_collection("c")
    client.create_collection("c", models.VectorParams(size=3, distance=COSINE))
    client.upsert(
        "c",
        [models.PointStruct(id=n, vector=v, payload=payload) for n, v in enumerate(vectors)],
    )
    found = client.query_points("c", asked, limit=9).points
    client.close()
    assert [point.payload for point in found] == [payload] * len(vectors)
    matrix, query = np.array(vectors, dtype=float), np.array(asked, dtype=float)
    cosines = matrix @ query / np.linalg.norm(matrix, axis=1) / np.linalg.norm(query)
    scores = {point.id: point.score for point in found}
    np.testing.assert_allclose([scores[n] for n in range(len(vectors))], cosines, atol=1e-5)


@pytest.fixture(scope="module")
def one_server() -> Iterator[QdrantServer]:
    with QdrantServer() as server:
        yield server


def test_refusals_have_the_statuses_of_a_server(
    rest_client: QdrantClient, qdrant_server: QdrantServer
) -> None:
    there = "Not found: Collection `nowhere` doesn't exist!"
    assert status_of(rest_client.count, "nowhere") == (404, there)
    assert status_of(rest_client.get_collection, "nowhere") == (404, there)
    a_collection(rest_client)
    again = f"Wrong input: Collection `{NAME}` already exists!"
    assert status_of(a_collection, rest_client) == (409, again)
    unknown = [models.PointVectors(id=n, vector={"a": OTHER}) for n in (9, 0)]
    rest_client.upsert(NAME, some_points())
    missing = (404, "Not found: No point with id 9 found")
    assert status_of(rest_client.update_vectors, NAME, unknown) == missing
    assert status_of(rest_client.scroll, NAME, limit=0)[0] == 422
    wide = models.PointStruct(id=1, vector={"a": [1.0]})
    code, reason = status_of(rest_client.upsert, NAME, [wide])
    assert (code, "dim: 4, got 1" in reason) == (400, True)
    for body in ("{", '{"vectors": 3}', '{"vectors": {}, "nonsense": 1}', ""):
        answer = httpx.put(f"{qdrant_server.url}/collections/c", content=body)
        assert answer.status_code == 400
        assert answer.json()["status"]["error"].startswith("Format error in JSON body: ")
    assert httpx.get(f"{qdrant_server.url}/nowhere").status_code == 404
    assert httpx.get(f"{qdrant_server.url}/readyz").status_code == 200


def test_more_than_32_mebibytes_are_refused(rest_client: QdrantClient) -> None:
    a_collection(rest_client)
    big = models.PointStruct(id=1, vector={"a": QUERY}, payload={"t": "t" * (32 << 20)})
    code, reason = status_of(rest_client.upsert, NAME, [big])
    assert (code, "larger than allowed" in reason) == (400, True)
    assert rest_client.count(NAME).count == 0


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_a_key_is_asked_for_where_there_is_one() -> None:
    with QdrantServer(api_key="sesame") as server:
        assert httpx.get(server.url).status_code == 200
        for key, reason in ((None, b"Must provide an API key"), ("wrong", b"Invalid API key")):
            client = QdrantClient(url=server.url, api_key=key, check_compatibility=False)
            with pytest.raises(UnexpectedResponse) as caught:
                client.get_collections()
            client.close()
            assert caught.value.status_code == 401
            assert caught.value.content.startswith(reason)
        client = QdrantClient(url=server.url, api_key="sesame", check_compatibility=False)
        assert client.get_collections().collections == []
        client.close()
        bearer = {"Authorization": "Bearer sesame"}
        assert httpx.get(f"{server.url}/collections", headers=bearer).status_code == 200


def test_requests_are_seen_as_they_were_sent(
    rest_client: QdrantClient, qdrant_server: QdrantServer
) -> None:
    a_collection(rest_client)
    qdrant_server.requests.clear()
    written = rest_client.upsert(
        NAME, some_points(1), wait=False, ordering=models.WriteOrdering.STRONG, timeout=9
    )
    rest_client.retrieve(NAME, [0], consistency=models.ReadConsistencyType.MAJORITY)
    assert written.status == models.UpdateStatus.ACKNOWLEDGED
    [upsert, read] = qdrant_server.requests
    assert upsert[:3] == (
        "PUT",
        f"/collections/{NAME}/points",
        {"wait": "false", "ordering": "strong", "timeout": "9"},
    )
    point = {"id": 0, "vector": {"a": QUERY}, "payload": {"n": 0, "k": "x"}}
    assert upsert.body == {"points": [point]}
    asked = {"ids": [0], "with_payload": True, "with_vector": False}
    assert read[2:] == ({"consistency": "majority"}, asked)
