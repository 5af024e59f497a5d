"""Qdrant's gRPC calls on the test servers: each message to the store's call, and its answer.

Messages are turned into REST models and back by qdrant-client's own conversions, which the client
uses the other way round. A call that is in no table is UNIMPLEMENTED: snapshots, matrices,
groups, and what Qdrant deprecated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qdrant_client import grpc as messages
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.http import models

from tests.collection import qdrant_reads as reads
from tests.collection.qdrant_shards import Refused, wrapped
from tests.collection.qdrant_store import Store

Respond = Callable[[Store, Any], Any]


def _given(message: Any, field: str, convert: Callable[[Any], Any]) -> Any:
    """Return an optional field as a REST model, None where it is not set."""
    return convert(getattr(message, field)) if message.HasField(field) else None


def _itself(value: Any) -> Any:
    return value


def _written(store: Store, message: Any) -> Any:
    done = RestToGrpc.convert_update_result(store.done(message.collection_name, wait=message.wait))
    return messages.PointsOperationResponse(result=done)


# Writes to points


def _operation(message: Any) -> models.UpdateOperation:
    """Convert an update; its shard keys by themselves, as the conversions pass some over."""
    name = message.WhichOneof("operation")
    plain = messages.PointsUpdateOperation()
    plain.CopyFrom(message)
    inner = getattr(plain, name)
    selector = _given(inner, "shard_key_selector", GrpcToRest.convert_shard_key_selector)
    inner.ClearField("shard_key_selector")
    operation: models.UpdateOperation = GrpcToRest.convert_points_update_operation(plain)
    [key] = type(operation).model_fields
    body = wrapped(operation).model_copy(update={"shard_key": selector})
    return operation.model_copy(update={key: body})


def _write(field: str) -> Respond:
    """A write by itself: the update of that name, from the fields that both messages have."""

    def respond(store: Store, message: Any) -> Any:
        update = messages.PointsUpdateOperation()
        inner = getattr(update, field)
        known = set(inner.DESCRIPTOR.fields_by_name)
        shared = {found.name: value for found, value in message.ListFields() if found.name in known}
        inner.CopyFrom(type(inner)(**shared))
        store.write(message.collection_name, [_operation(update)])
        return _written(store, message)

    return respond


def _update_batch(store: Store, message: Any) -> Any:
    store.write(message.collection_name, [_operation(update) for update in message.operations])
    results = [_written(store, message).result for _ in message.operations]
    return messages.UpdateBatchResponse(result=results)


def _create_index(store: Store, message: Any) -> Any:
    schema = _given(message, "field_index_params", GrpcToRest.convert_payload_schema_params)
    if schema is None and message.HasField("field_type"):
        name = messages.FieldType.Name(message.field_type).removeprefix("FieldType")
        schema = models.PayloadSchemaType(name.lower())
    store.index(message.collection_name, message.field_name, schema)
    return _written(store, message)


def _drop_index(store: Store, message: Any) -> Any:
    store.drop_index(message.collection_name, message.field_name)
    return _written(store, message)


def _create_vector(store: Store, message: Any) -> Any:
    config: models.VectorNameConfig
    if message.HasField("sparse_config"):
        sparse = message.sparse_config
        config = models.SparseVectorNameConfig(
            sparse=models.SparseVectorConfig(
                modifier=_given(sparse, "modifier", GrpcToRest.convert_modifier),
                datatype=_given(sparse, "datatype", _datatype),
            )
        )
    else:
        dense = message.dense_config
        config = models.DenseVectorNameConfig(
            dense=models.DenseVectorConfig(
                size=dense.size,
                distance=GrpcToRest.convert_distance(dense.distance),
                multivector_config=_given(
                    dense, "multivector_config", GrpcToRest.convert_multivector_config
                ),
                datatype=_given(dense, "datatype", _datatype),
            )
        )
    store.create_vector(message.collection_name, message.vector_name, config)
    return _written(store, message)


def _datatype(value: Any) -> models.VectorStorageDatatype:
    return models.VectorStorageDatatype(GrpcToRest.convert_datatype(value).value)


def _drop_vector(store: Store, message: Any) -> Any:
    store.drop_vector(message.collection_name, message.vector_name)
    return _written(store, message)


# Reads of points


def _selected(message: Any) -> dict[str, Any]:
    """What scroll, get, count and facet have in common."""
    convert = {
        "filter": ("filter", GrpcToRest.convert_filter),
        "with_payload": ("with_payload", GrpcToRest.convert_with_payload_selector),
        "with_vectors": ("with_vector", GrpcToRest.convert_with_vectors_selector),
        "shard_key_selector": ("shard_key", GrpcToRest.convert_shard_key_selector),
        "limit": ("limit", _itself),
    }
    return {
        name: _given(message, field, function)
        for field, (name, function) in convert.items()
        if field in message.DESCRIPTOR.fields_by_name
    }


def _records(points: list[models.Record]) -> list[Any]:
    return [
        # The conversion of a record wants a payload.
        RestToGrpc.convert_record(point.model_copy(update={"payload": point.payload or {}}))
        for point in points
    ]


def _scroll(store: Store, message: Any) -> Any:
    asked = models.ScrollRequest(
        offset=_given(message, "offset", GrpcToRest.convert_point_id),
        order_by=_given(message, "order_by", GrpcToRest.convert_order_by),
        **_selected(message),
    )
    found = reads.scroll(store, message.collection_name, asked)
    following = found.next_page_offset
    return messages.ScrollResponse(
        result=_records(found.points),
        next_page_offset=(
            None if following is None else RestToGrpc.convert_extended_point_id(following)
        ),
    )


def _get(store: Store, message: Any) -> Any:
    ids = [GrpcToRest.convert_point_id(point) for point in message.ids]
    asked = models.PointRequest(ids=ids, **_selected(message))
    return messages.GetResponse(
        result=_records(reads.retrieve(store, message.collection_name, asked))
    )


def _count(store: Store, message: Any) -> Any:
    found = reads.count(store, message.collection_name, models.CountRequest(**_selected(message)))
    return messages.CountResponse(result=RestToGrpc.convert_count_result(found))


def _facet(store: Store, message: Any) -> Any:
    asked = models.FacetRequest(key=message.key, **_selected(message))
    found = reads.facet(store, message.collection_name, asked)
    return messages.FacetResponse(
        hits=[RestToGrpc.convert_facet_value_hit(hit) for hit in found.hits]
    )


def _query(store: Store, message: Any) -> Any:
    asked = GrpcToRest.convert_query_points(message)
    found = reads.query(store, message.collection_name, asked)
    return messages.QueryResponse(
        result=[RestToGrpc.convert_scored_point(point) for point in found.points]
    )


def _query_batch(store: Store, message: Any) -> Any:
    return messages.QueryBatchResponse(
        result=[
            messages.BatchResult(result=_query(store, query).result)
            for query in message.query_points
        ]
    )


# Collections


def _create(store: Store, message: Any) -> Any:
    asked = models.CreateCollection(
        vectors=_given(message, "vectors_config", GrpcToRest.convert_vectors_config),
        sparse_vectors=_given(
            message, "sparse_vectors_config", GrpcToRest.convert_sparse_vector_config
        ),
        metadata=GrpcToRest.convert_payload(message.metadata) if message.metadata else None,
        hnsw_config=_given(message, "hnsw_config", GrpcToRest.convert_hnsw_config_diff),
        wal_config=_given(message, "wal_config", GrpcToRest.convert_wal_config_diff),
        optimizers_config=_given(
            message, "optimizers_config", GrpcToRest.convert_optimizers_config_diff
        ),
        quantization_config=_given(
            message, "quantization_config", GrpcToRest.convert_quantization_config
        ),
        strict_mode_config=_given(
            message, "strict_mode_config", GrpcToRest.convert_strict_mode_config
        ),
        sharding_method=_given(message, "sharding_method", GrpcToRest.convert_sharding_method),
        payload=_given(message, "payload", GrpcToRest.convert_payload_storage_params),
        id_tracker=_given(message, "id_tracker", GrpcToRest.convert_id_tracker_params),
        **{
            field: _given(message, field, _itself)
            for field in (
                "shard_number",
                "on_disk_payload",
                "replication_factor",
                "write_consistency_factor",
            )
        },
    )
    return _told(store.create(message.collection_name, asked))


def _update(store: Store, message: Any) -> Any:
    asked = GrpcToRest.convert_update_collection(message)
    return _told(store.update(message.collection_name, asked))


def _delete(store: Store, message: Any) -> Any:
    return _told(store.delete(message.collection_name))


def _told(result: bool) -> Any:
    return messages.CollectionOperationResponse(result=result)


def _info(store: Store, message: Any) -> Any:
    info = store.info(message.collection_name)
    return messages.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(info))


def _exists(store: Store, message: Any) -> Any:
    try:
        store.find(message.collection_name)
        exists = True
    except Refused:
        exists = False
    return messages.CollectionExistsResponse(result=messages.CollectionExists(exists=exists))


def _list(store: Store, message: Any) -> Any:
    found = store.local.get_collections().collections
    return messages.ListCollectionsResponse(
        collections=[RestToGrpc.convert_collection_description(each) for each in found]
    )


def _update_aliases(store: Store, message: Any) -> Any:
    actions = [GrpcToRest.convert_alias_operations(action) for action in message.actions]
    return _told(store.update_aliases(actions))


def _aliases(store: Store, message: Any) -> Any:
    found = store.local.get_aliases().aliases
    if "collection_name" in message.DESCRIPTOR.fields_by_name:
        own = store.find(message.collection_name)[0]
        found = store.local.get_collection_aliases(own).aliases
    return messages.ListAliasesResponse(
        aliases=[RestToGrpc.convert_alias_description(alias) for alias in found]
    )


def _cluster_info(store: Store, message: Any) -> Any:
    return RestToGrpc.convert_collection_cluster_info(store.cluster_info(message.collection_name))


def _create_shard_key(store: Store, message: Any) -> Any:
    key = GrpcToRest.convert_shard_key(message.request.shard_key)
    store.find(message.collection_name)[1].shards.create(key)
    return messages.CreateShardKeyResponse(result=True)


def _drop_shard_key(store: Store, message: Any) -> Any:
    key = GrpcToRest.convert_shard_key(message.request.shard_key)
    return messages.DeleteShardKeyResponse(
        result=store.drop_shard_key(message.collection_name, key)
    )


def _shard_keys(store: Store, message: Any) -> Any:
    keys = store.find(message.collection_name)[1].shards.keys
    return messages.ListShardKeysResponse(
        shard_keys=[
            messages.ShardKeyDescription(key=RestToGrpc.convert_shard_key(key)) for key in keys
        ]
    )


def _health(store: Store, message: Any) -> Any:
    return messages.HealthCheckReply(title="qdrant - vector search engine", version=store.version)


# By service: the generated class, what registers one, and its calls.
SERVICES: dict[str, tuple[Any, Any, dict[str, Respond]]] = {
    "qdrant.Points": (
        messages.PointsServicer,
        messages.add_PointsServicer_to_server,
        {
            "Upsert": _write("upsert"),
            "Delete": _write("delete_points"),
            "UpdateVectors": _write("update_vectors"),
            "DeleteVectors": _write("delete_vectors"),
            "SetPayload": _write("set_payload"),
            "OverwritePayload": _write("overwrite_payload"),
            "DeletePayload": _write("delete_payload"),
            "ClearPayload": _write("clear_payload"),
            "UpdateBatch": _update_batch,
            "CreateFieldIndex": _create_index,
            "DeleteFieldIndex": _drop_index,
            "CreateVectorName": _create_vector,
            "DeleteVectorName": _drop_vector,
            "Scroll": _scroll,
            "Get": _get,
            "Count": _count,
            "Facet": _facet,
            "Query": _query,
            "QueryBatch": _query_batch,
        },
    ),
    "qdrant.Collections": (
        messages.CollectionsServicer,
        messages.add_CollectionsServicer_to_server,
        {
            "Get": _info,
            "List": _list,
            "Create": _create,
            "Update": _update,
            "Delete": _delete,
            "CollectionExists": _exists,
            "UpdateAliases": _update_aliases,
            "ListAliases": _aliases,
            "ListCollectionAliases": _aliases,
            "CollectionClusterInfo": _cluster_info,
            "CreateShardKey": _create_shard_key,
            "DeleteShardKey": _drop_shard_key,
            "ListShardKeys": _shard_keys,
        },
    ),
    "qdrant.Qdrant": (
        messages.QdrantServicer,
        messages.add_QdrantServicer_to_server,
        {"HealthCheck": _health},
    ),
}
