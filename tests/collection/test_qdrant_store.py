"""What the test server keeps beside local mode: settings, indexes, aliases, shards, snapshots."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx
from qdrant_client import QdrantClient, models

from tests.collection.qdrant_points import COSINE, NAME, QUERY, a_collection, some_points, status_of
from tests.collection.qdrant_server import QdrantServer


def test_settings_that_local_mode_passes_over_are_shown(rest_client: QdrantClient) -> None:
    rest_client.create_collection(
        NAME,
        vectors_config={
            "a": models.VectorParams(
                size=4, distance=COSINE, on_disk=True, hnsw_config=models.HnswConfigDiff(m=0)
            )
        },
        shard_number=3,
        replication_factor=2,
        write_consistency_factor=2,
        hnsw_config=models.HnswConfigDiff(payload_m=24, m=0),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=0),
        quantization_config=models.BinaryQuantization(binary=models.BinaryQuantizationConfig()),
        strict_mode_config=models.StrictModeConfig(enabled=True, max_query_limit=7),
    )
    config = rest_client.get_collection(NAME).config
    assert isinstance(config.params.vectors, dict)
    assert config.params.vectors["a"].on_disk is True
    assert config.params.vectors["a"].hnsw_config == models.HnswConfigDiff(m=0)
    assert (config.params.shard_number, config.params.replication_factor) == (3, 2)
    assert config.params.write_consistency_factor == 2
    assert config.params.sharding_method is None
    assert (config.hnsw_config.payload_m, config.hnsw_config.m) == (24, 0)
    assert config.hnsw_config.ef_construct == 100
    assert config.optimizer_config.indexing_threshold == 0
    assert isinstance(config.quantization_config, models.BinaryQuantization)
    assert config.strict_mode_config is not None
    assert config.strict_mode_config.max_query_limit == 7


def test_an_update_changes_what_it_names_only(rest_client: QdrantClient) -> None:
    quantization = models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8)
    )
    a_collection(rest_client, metadata={"keep": 1}, quantization_config=quantization)
    rest_client.update_collection(
        NAME,
        vectors_config={"a": models.VectorParamsDiff(on_disk=True)},
        hnsw_config=models.HnswConfigDiff(m=32),
        collection_params=models.CollectionParamsDiff(replication_factor=2),
        metadata={"new": 2},
    )
    config = rest_client.get_collection(NAME).config
    assert config.params.vectors == {
        "a": models.VectorParams(size=4, distance=COSINE, on_disk=True)
    }
    assert (config.hnsw_config.m, config.hnsw_config.ef_construct) == (32, 100)
    assert config.params.replication_factor == 2
    assert config.quantization_config == quantization
    assert config.metadata == {"keep": 1, "new": 2}
    rest_client.update_collection(
        NAME, quantization_config=models.Disabled.DISABLED, metadata={"keep": None}
    )
    config = rest_client.get_collection(NAME).config
    assert config.quantization_config is None
    assert config.metadata == {"new": 2}


def test_metadata_is_merged_at_the_top_level_only(rest_client: QdrantClient) -> None:
    a_collection(rest_client, metadata={"nested": {"first": 1}})
    rest_client.update_collection(NAME, metadata={"nested": {"second": 2}})
    assert rest_client.get_collection(NAME).config.metadata == {"nested": {"second": 2}}


def test_named_vectors_that_are_added_are_shown_and_dropped(rest_client: QdrantClient) -> None:
    a_collection(rest_client)
    config = models.DenseVectorConfig(
        size=8, distance=COSINE, datatype=models.VectorStorageDatatype.FLOAT16
    )
    rest_client.create_vector_name(NAME, "b ä%", models.DenseVectorNameConfig(dense=config))
    vectors = rest_client.get_collection(NAME).config.params.vectors
    assert isinstance(vectors, dict)
    assert vectors["b ä%"].size == 8
    assert vectors["b ä%"].datatype == models.Datatype.FLOAT16
    rest_client.delete_vector_name(NAME, "b ä%")
    assert rest_client.get_collection(NAME).config.params.vectors == {
        "a": models.VectorParams(size=4, distance=COSINE)
    }


def test_payload_indexes_are_listed_and_facets_need_them(
    rest_client: QdrantClient,
) -> None:
    a_collection(rest_client)
    rest_client.upsert(NAME, some_points(5))
    assert status_of(rest_client.facet, NAME, "k") == (
        400,
        "Wrong input: No appropriate index for faceting: `k`",
    )
    code, reason = status_of(rest_client.scroll, NAME, order_by="n")
    assert (code, reason[:25]) == (400, "Wrong input: No range ind")
    tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
    rest_client.create_payload_index(NAME, "k", tenant)
    rest_client.create_payload_index(NAME, "n", models.PayloadSchemaType.INTEGER)
    rest_client.create_payload_index(NAME, "no.such", models.PayloadSchemaType.BOOL)
    schema = rest_client.get_collection(NAME).payload_schema
    assert schema["k"].params == tenant
    assert {path: (info.data_type.value, info.points) for path, info in schema.items()} == {
        "k": ("keyword", 5),
        "n": ("integer", 5),
        "no.such": ("bool", 0),
    }
    facet = rest_client.facet(NAME, "k")
    assert [(hit.value, hit.count) for hit in facet.hits] == [("x", 3), ("y", 2)]
    order = models.OrderBy(key="n", direction=models.Direction.DESC)
    assert [record.id for record in rest_client.scroll(NAME, order_by=order)[0]] == [4, 3, 2, 1, 0]
    rest_client.delete_payload_index(NAME, "no.such")
    assert set(rest_client.get_collection(NAME).payload_schema) == {"k", "n"}


def test_an_alias_stands_for_its_collection(rest_client: QdrantClient) -> None:
    a_collection(rest_client)
    alias = models.CreateAlias(collection_name=NAME, alias_name="now")
    rest_client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    rest_client.upsert("now", some_points())
    assert rest_client.count(NAME).count == rest_client.count("now").count == 3
    described = models.AliasDescription(alias_name="now", collection_name=NAME)
    assert rest_client.get_aliases().aliases == [described]
    assert rest_client.get_collection_aliases(NAME).aliases == [described]
    missing = models.CreateAlias(collection_name="missing", alias_name="then")
    operation = models.CreateAliasOperation(create_alias=missing)
    assert status_of(rest_client.update_collection_aliases, [operation])[0] == 404
    assert [found.name for found in rest_client.get_collections().collections] == [NAME]


def test_where_sharding_is_custom_points_lie_under_the_keys_they_were_written_with(
    rest_client: QdrantClient,
) -> None:
    a_collection(rest_client, sharding_method=models.ShardingMethod.CUSTOM)
    assert status_of(rest_client.upsert, NAME, some_points()) == (
        400,
        "Wrong input: Shard key not specified",
    )
    missing = status_of(rest_client.upsert, NAME, some_points(), shard_key_selector="cats")
    assert missing == (400, "Wrong input: Shard key cats not found")
    assert rest_client.create_shard_key(NAME, "cats")
    assert rest_client.create_shard_key(NAME, "dogs")
    assert status_of(rest_client.create_shard_key, NAME, "dogs")[0] == 400
    keys = rest_client.list_shard_keys(NAME).shard_keys
    assert keys is not None
    assert [found.key for found in keys] == ["cats", "dogs"]
    points = some_points(5)
    rest_client.upsert(NAME, points[:2], shard_key_selector="cats")
    rest_client.upsert(NAME, points[2:], shard_key_selector="dogs")
    assert rest_client.count(NAME).count == 5
    assert rest_client.count(NAME, shard_key_selector="dogs").count == 3
    found = rest_client.query_points(
        NAME,
        query=QUERY,
        using="a",
        prefetch=models.Prefetch(query=QUERY, using="a", limit=2),
        shard_key_selector="dogs",
    ).points
    assert {point.shard_key for point in found} == {"dogs"}
    assert {
        record.id for record in rest_client.retrieve(NAME, [0, 4], shard_key_selector="cats")
    } == {0}
    everything = models.Filter(must=[models.FieldCondition(key="n", range=models.Range(gte=0))])
    rest_client.delete(NAME, everything, shard_key_selector="cats")
    rest_client.delete(NAME, [3, 0], shard_key_selector="dogs")
    assert {record.id for record in rest_client.scroll(NAME)[0]} == {2, 4}
    shards = rest_client.collection_cluster_info(NAME).local_shards
    assert [(shard.shard_key, shard.points_count) for shard in shards] == [("cats", 0), ("dogs", 2)]
    assert status_of(rest_client.count, NAME, shard_key_selector="mice")[0] == 400
    rest_client.delete_shard_key(NAME, "dogs")
    assert rest_client.count(NAME).count == 0


def test_without_custom_sharding_there_are_no_shard_keys(rest_client: QdrantClient) -> None:
    a_collection(rest_client, shard_number=2)
    rest_client.upsert(NAME, some_points())
    assert status_of(rest_client.create_shard_key, NAME, "cats")[0] == 400
    assert status_of(rest_client.count, NAME, shard_key_selector="cats")[0] == 400
    info = rest_client.collection_cluster_info(NAME)
    assert [shard.points_count for shard in info.local_shards] == [3, 0]
    assert rest_client.cluster_status().status == "enabled"


def test_a_snapshot_holds_the_points(
    rest_client: QdrantClient, qdrant_server: QdrantServer
) -> None:
    a_collection(rest_client)
    rest_client.upsert(NAME, some_points())
    made = rest_client.create_snapshot(NAME)
    assert made is not None
    assert rest_client.list_snapshots(NAME) == [made]
    path = f"{qdrant_server.url}/collections/some%20texts%20%C3%A4/snapshots/"
    content = httpx.get(path + quote(made.name)).content
    assert len(content) == made.size
    assert [point["id"] for point in json.loads(content)[NAME]["points"]] == [0, 1, 2]
    assert rest_client.delete_snapshot(NAME, made.name)
    assert status_of(rest_client.delete_snapshot, NAME, made.name)[0] == 404
    whole = rest_client.create_full_snapshot()
    assert rest_client.list_full_snapshots() == [whole]
    assert rest_client.list_snapshots(NAME) == []
