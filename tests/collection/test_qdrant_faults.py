"""Faults of the test server show in both clients as a real server's would."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from tests.collection.qdrant_points import NAME, QUERY, a_collection, some_points, status_of
from tests.collection.qdrant_server import QdrantServer


def test_a_stopped_server_is_not_there_and_comes_back_with_its_data(
    rest_client: QdrantClient, qdrant_server: QdrantServer
) -> None:
    a_collection(rest_client, metadata={"a": 1})
    rest_client.upsert(NAME, some_points())
    port = qdrant_server.port
    qdrant_server.stop()
    with pytest.raises(ResponseHandlingException) as caught:
        rest_client.count(NAME)
    assert isinstance(caught.value.source, httpx.ConnectError)
    qdrant_server.start()
    assert qdrant_server.port == port
    assert rest_client.count(NAME).count == 3
    assert rest_client.get_collection(NAME).config.metadata == {"a": 1}


def test_a_stop_cuts_kept_connections_and_answers_under_way(qdrant_server: QdrantServer) -> None:
    threads = threading.active_count()
    with httpx.Client(base_url=qdrant_server.url) as kept:
        assert kept.get("/collections").status_code == 200
        assert threading.active_count() == threads + 1
        qdrant_server.hang(1, 600)
        caught: list[Exception] = []

        def wait() -> None:
            try:
                httpx.get(f"{qdrant_server.url}/collections", timeout=600)
            except httpx.HTTPError as error:
                caught.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        while len(qdrant_server.requests) < 2:
            waiting.join(0.01)
        qdrant_server.stop()
        waiting.join()
        assert isinstance(caught[0], httpx.RemoteProtocolError)
        with pytest.raises(httpx.HTTPError):
            kept.get("/collections")
    # The server's own thread is gone as well.
    assert threading.active_count() == threads - 1


def test_a_failure_shows_as_its_status_and_passes(
    rest_client: QdrantClient, qdrant_server: QdrantServer
) -> None:
    a_collection(rest_client)
    qdrant_server.fail(2, status=503, match="PUT .*/points$")
    for _ in range(2):
        assert rest_client.count(NAME).count == 0
        assert status_of(rest_client.upsert, NAME, some_points())[0] == 503
    rest_client.upsert(NAME, some_points())
    qdrant_server.fail(1, status=502, done=True)
    assert status_of(rest_client.delete, NAME, [0])[0] == 502
    assert rest_client.count(NAME).count == 2
    qdrant_server.fail(1, status=429, headers={"Retry-After": "7"})
    with pytest.raises(ResourceExhaustedResponse) as caught:
        rest_client.count(NAME)
    assert caught.value.retry_after_s == 7
    qdrant_server.fail(1)
    qdrant_server.heal()
    assert rest_client.info().version
    assert rest_client.count(NAME).count == 2


@pytest.mark.parametrize("done", [False, True])
def test_a_cut_answer_tells_nothing_of_the_write(
    rest_client: QdrantClient, qdrant_server: QdrantServer, done: bool
) -> None:
    a_collection(rest_client)
    qdrant_server.cut(1, match="PUT", done=done)
    with pytest.raises(ResponseHandlingException) as caught:
        rest_client.upsert(NAME, some_points())
    assert isinstance(caught.value.source, httpx.RemoteProtocolError)
    assert rest_client.count(NAME).count == 3 * done
    rest_client.upsert(NAME, some_points())
    assert rest_client.count(NAME).count == 3


def test_a_server_that_hangs_is_a_timeout(qdrant_server: QdrantServer) -> None:
    client = QdrantClient(url=qdrant_server.url, timeout=1, check_compatibility=False)
    a_collection(client)
    qdrant_server.hang(1, 600, done=True)
    with pytest.raises(ResponseHandlingException) as caught:
        client.upsert(NAME, some_points())
    assert isinstance(caught.value.source, httpx.ReadTimeout)
    # The work was done all the same.
    assert client.count(NAME).count == 3
    qdrant_server.hang(1, 0.01)
    assert client.count(NAME).count == 3
    client.close()


def test_the_async_client_meets_the_same_faults(qdrant_server: QdrantServer) -> None:
    async def meet() -> list[Exception]:
        client = AsyncQdrantClient(url=qdrant_server.url, timeout=1, check_compatibility=False)
        qdrant_server.fail(1, status=500)
        qdrant_server.cut(1)
        qdrant_server.hang(1, 600)
        caught: list[Exception] = []
        for number in range(5):
            if number == 3:
                qdrant_server.stop()
            if number == 4:
                qdrant_server.start()
            try:
                await client.get_collections()
            except (UnexpectedResponse, ResponseHandlingException) as error:
                caught.append(error)
        await client.close()
        return caught

    failed, *lost = asyncio.run(meet())
    assert isinstance(failed, UnexpectedResponse)
    assert failed.status_code == 500
    assert [
        type(error.source) for error in lost if isinstance(error, ResponseHandlingException)
    ] == [
        httpx.RemoteProtocolError,
        httpx.ReadTimeout,
        httpx.ConnectError,
    ]


def test_writers_in_many_threads_lose_nothing(qdrant_server: QdrantServer) -> None:
    client = QdrantClient(url=qdrant_server.url, check_compatibility=False)
    a_collection(client)

    def write(first: int) -> None:
        for number in range(first, first + 25):
            client.upsert(NAME, [models.PointStruct(id=number, vector={"a": QUERY})])

    writers = [threading.Thread(target=write, args=(25 * n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert client.count(NAME).count == 100
    client.close()
