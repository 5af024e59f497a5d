"""The test server's gRPC side: both clients get over it what they get without it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse

from tests.collection.qdrant_calls import CALLS, play, play_async
from tests.collection.qdrant_grpc import QdrantGrpc
from tests.collection.qdrant_points import COSINE, NAME, QUERY, a_collection, some_points
from tests.collection.qdrant_server import QdrantServer

UNKNOWN = {"query_points_groups", "search_matrix_pairs"}


def options(server: QdrantGrpc) -> dict[str, Any]:
    return {
        "url": server.owner.url,
        "grpc_port": server.port,
        "prefer_grpc": True,
        "check_compatibility": False,
    }


@pytest.fixture
def client(qdrant_grpc: QdrantGrpc) -> Iterator[QdrantClient]:
    client = QdrantClient(**options(qdrant_grpc))
    yield client
    client.close()


def code_of(call: Any, *args: Any, **given: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **given)
    return caught.value.code(), caught.value.details()


def near(answer: Any) -> Any:
    """An answer as gRPC can tell it: floats in 32 bits, what is empty is not there."""
    if isinstance(answer, dict):
        found = {key: near(value) for key, value in answer.items()}
        return {key: value for key, value in found.items() if value not in (None, {}, [])}
    if isinstance(answer, list | tuple):
        return [near(part) for part in answer]
    return round(answer, 5) if isinstance(answer, float) else answer


def test_both_clients_get_over_grpc_what_local_mode_answers() -> None:
    calls = [call for call in CALLS if call[0] not in UNKNOWN]
    expected = near(play(QdrantClient(":memory:"), calls))
    with QdrantServer() as server, QdrantGrpc(server) as grpc_server:
        found = near(play(QdrantClient(**options(grpc_server)), calls))
        paths = {request.path for request in server.requests}
    with QdrantServer() as server, QdrantGrpc(server) as grpc_server:
        client = AsyncQdrantClient(**options(grpc_server))
        found_async = near(asyncio.run(play_async(client, calls)))
    assert {path.split("/")[1] for path in paths} == {"qdrant.Points", "qdrant.Collections"}
    for number, (method, _) in enumerate(calls):
        assert found[number] == expected[number], f"{number}: {method}"
        assert found_async[number] == expected[number], f"{number}: {method}, async"


def test_a_collection_looks_the_same_over_rest_and_grpc(
    client: QdrantClient, rest_client: QdrantClient
) -> None:
    client.create_collection(
        NAME,
        vectors_config={
            "a": models.VectorParams(
                size=4, distance=COSINE, on_disk=True, hnsw_config=models.HnswConfigDiff(m=0)
            )
        },
        shard_number=3,
        replication_factor=2,
        write_consistency_factor=2,
        on_disk_payload=False,
        hnsw_config=models.HnswConfigDiff(payload_m=24, m=0),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=9),
        quantization_config=models.BinaryQuantization(
            binary=models.BinaryQuantizationConfig(always_ram=True)
        ),
        strict_mode_config=models.StrictModeConfig(enabled=True, max_query_limit=7),
        metadata={"a": {"ü": [1, None, 2.5, True]}},
    )
    tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
    client.create_payload_index(NAME, "k", tenant)
    client.create_payload_index(NAME, "n", models.PayloadSchemaType.INTEGER)
    client.create_payload_index(NAME, "gone", models.PayloadSchemaType.BOOL)
    client.delete_payload_index(NAME, "gone")
    config = models.DenseVectorConfig(size=8, distance=COSINE)
    client.create_vector_name(NAME, "b", models.DenseVectorNameConfig(dense=config))
    client.update_collection(NAME, hnsw_config=models.HnswConfigDiff(ef_construct=50))
    info = client.get_collection(NAME)
    assert info.config.metadata == {"a": {"ü": [1, None, 2.5, True]}}
    assert isinstance(info.config.params.vectors, dict)
    assert set(info.config.params.vectors) == {"a", "b"}
    assert info.config.params.vectors["a"].on_disk is True
    assert (info.config.params.shard_number, info.config.params.replication_factor) == (3, 2)
    assert (info.config.hnsw_config.m, info.config.hnsw_config.ef_construct) == (0, 50)
    assert isinstance(info.config.quantization_config, models.BinaryQuantization)
    assert info.payload_schema["k"].params == tenant
    over_rest = near(rest_client.get_collection(NAME).model_dump(mode="json"))
    assert near(info.model_dump(mode="json")) == over_rest
    assert [found.name for found in client.get_collections().collections] == [NAME]


def test_shard_keys_and_aliases_go_over_grpc(client: QdrantClient) -> None:
    a_collection(client, sharding_method=models.ShardingMethod.CUSTOM)
    assert code_of(client.upsert, NAME, some_points()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Wrong input: Shard key not specified",
    )
    for key in ("cats", "dogs"):
        client.create_shard_key(NAME, key)
    client.upsert(NAME, some_points(5)[:2], shard_key_selector="cats")
    points = models.PointsList(points=some_points(5)[2:], shard_key="dogs")
    client.batch_update_points(NAME, [models.UpsertOperation(upsert=points)])
    assert client.count(NAME, shard_key_selector="dogs").count == 3
    found = client.query_points(NAME, QUERY, using="a", shard_key_selector=["cats"]).points
    assert [point.shard_key for point in found] == ["cats", "cats"]
    ids = models.PointIdsList(points=[0], shard_key="cats")
    client.batch_update_points(NAME, [models.DeleteOperation(delete=ids)])
    everything = models.Filter(must=[models.FieldCondition(key="n", range=models.Range(gte=0))])
    client.delete(NAME, everything, shard_key_selector="dogs")
    assert [record.id for record in client.scroll(NAME)[0]] == [1]
    keys = client.list_shard_keys(NAME).shard_keys
    assert keys is not None
    assert [found.key for found in keys] == ["cats", "dogs"]
    shards = client.collection_cluster_info(NAME).local_shards
    assert [(shard.shard_key, shard.points_count) for shard in shards] == [("cats", 1), ("dogs", 0)]
    alias = models.CreateAlias(collection_name=NAME, alias_name="now")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    described = models.AliasDescription(alias_name="now", collection_name=NAME)
    assert client.get_aliases().aliases == [described]
    assert client.get_collection_aliases("now").aliases == [described]
    client.delete_shard_key(NAME, "cats")
    assert client.count("now").count == 0


def test_a_facet_needs_an_index_over_grpc_too(client: QdrantClient) -> None:
    a_collection(client)
    client.upsert(NAME, some_points(5))
    assert code_of(client.facet, NAME, "k")[0] == grpc.StatusCode.INVALID_ARGUMENT
    client.create_payload_index(NAME, "k", models.PayloadSchemaType.KEYWORD)
    hits = client.facet(NAME, "k").hits
    assert [(hit.value, hit.count) for hit in hits] == [("x", 3), ("y", 2)]


def test_refusals_have_codes_and_the_words_of_rest(client: QdrantClient) -> None:
    code = grpc.StatusCode
    there = "Not found: Collection `nowhere` doesn't exist!"
    assert code_of(client.count, "nowhere") == (code.NOT_FOUND, there)
    a_collection(client)
    again = f"Wrong input: Collection `{NAME}` already exists!"
    assert code_of(a_collection, client) == (code.ALREADY_EXISTS, again)
    assert code_of(client.create_snapshot, NAME)[0] == code.UNIMPLEMENTED
    assert client.info().version


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_a_key_is_asked_for_over_grpc() -> None:
    with QdrantServer(api_key="sesame") as owner, QdrantGrpc(owner) as server:
        wanted = {
            None: (grpc.StatusCode.UNAUTHENTICATED, "Must provide an API key"),
            "wrong": (grpc.StatusCode.UNAUTHENTICATED, "Invalid API key or JWT"),
        }
        for key, (code, reason) in wanted.items():
            client = QdrantClient(**options(server), api_key=key)
            found, details = code_of(client.get_collections)
            client.close()
            assert (found, details[: len(reason)]) == (code, reason)
        client = QdrantClient(**options(server), api_key="sesame")
        assert client.get_collections().collections == []
        client.close()


def test_faults_show_over_grpc(client: QdrantClient, qdrant_server: QdrantServer) -> None:
    a_collection(client)
    qdrant_server.fail(1, status=503, match="Points/Upsert")
    assert client.count(NAME).count == 0
    assert code_of(client.upsert, NAME, some_points())[0] == grpc.StatusCode.UNAVAILABLE
    assert client.count(NAME).count == 0
    qdrant_server.cut(1)
    assert code_of(client.upsert, NAME, some_points())[0] == grpc.StatusCode.UNAVAILABLE
    assert client.count(NAME).count == 3
    qdrant_server.fail(1, status=429, headers={"Retry-After": "7"})
    with pytest.raises(ResourceExhaustedResponse) as caught:
        client.count(NAME)
    assert caught.value.retry_after_s == 7
    qdrant_server.hang(1, 600)
    assert code_of(client.count, NAME, timeout=1)[0] == grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_stopped_server_comes_back_over_grpc(
    client: QdrantClient, qdrant_grpc: QdrantGrpc
) -> None:
    a_collection(client)
    client.upsert(NAME, some_points())
    port = qdrant_grpc.port
    qdrant_grpc.stop()
    assert code_of(client.count, NAME)[0] == grpc.StatusCode.UNAVAILABLE
    qdrant_grpc.start()
    assert qdrant_grpc.port == port
    # Channels of one process share a connection, and its wait of a second before the next try.
    own = {"grpc.use_local_subchannel_pool": 1}
    fresh = QdrantClient(**options(qdrant_grpc), grpc_options=own)
    assert fresh.count(NAME).count == 3
    fresh.close()


def test_nothing_is_left_running() -> None:
    with QdrantServer() as owner:
        threads = threading.active_count()
        with QdrantGrpc(owner) as server:
            client = QdrantClient(**options(server))
            a_collection(client)
            client.close()
        assert threading.active_count() == threads
