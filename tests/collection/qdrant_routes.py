"""Qdrant's REST routes, as qdrant-client 1.20 calls them: method, path, body, and what answers.

A body is parsed with qdrant-client's own pydantic models, strictly: what does not parse, or has a
field that Qdrant's OpenAPI does not name, is a 400. (A server passes over most unknown fields.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from pydantic import TypeAdapter, ValidationError
from qdrant_client.http import models

from tests.collection import qdrant_reads as reads
from tests.collection.qdrant_shards import PEER, Refused
from tests.collection.qdrant_store import Store


@dataclass(frozen=True)
class Call:
    """One request: its path's variable parts, its query, and its parsed body."""

    store: Store
    path: tuple[str, ...]
    query: Mapping[str, str]
    body: Any = None

    @property
    def name(self) -> str:
        return self.path[0]

    def written(self) -> models.UpdateResult:
        return self.store.done(self.name, wait=self.query.get("wait") == "true")


@dataclass(frozen=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    body: TypeAdapter[Any] | None
    answer: Callable[[Call], Any]


def answer(
    store: Store, method: str, path: str, query: Mapping[str, str], content: bytes
) -> object:
    """Return the result of a request, or raise Refused."""
    for route in ROUTES:
        found = route.pattern.fullmatch(path)
        if found is None or route.method != method:
            continue
        body = None
        if route.body is not None:
            try:
                body = route.body.validate_json(content, strict=True)
            except ValidationError as error:
                first = error.errors(include_url=False, include_context=False)[0]
                where = ".".join(str(part) for part in first["loc"])
                raise Refused(
                    400, f"Format error in JSON body: {first['msg']} at {where}"
                ) from error
        return route.answer(Call(store, tuple(map(unquote, found.groups())), query, body))
    raise Refused(404, f"Not found: there is no {method} {path}")


def _route(
    method: str, path: str, body: Any, respond: Callable[[Call], Any], *, raw: bool = False
) -> Route:
    pattern = re.compile(re.sub(r"\{\w+\}", "([^/]+)", path))
    adapter = None if body is None else TypeAdapter(body)
    # The root's answer is the one without an envelope.
    return Route(
        method, pattern, adapter, respond if raw else lambda call: {"result": respond(call)}
    )


def _update(method: str, path: str, body: Any, operation: Callable[..., Any], key: str) -> Route:
    """A write to points: the body is what one update operation wraps."""

    def respond(call: Call) -> models.UpdateResult:
        call.store.write(call.name, [operation(**{key: call.body})])
        return call.written()

    return _route(method, "/collections/{c}/points" + path, body, respond)


def _root(call: Call) -> models.VersionInfo:
    return models.VersionInfo(title="qdrant - vector search engine", version=call.store.version)


def _exists(call: Call) -> models.CollectionExistence:
    try:
        call.store.find(call.name)
    except Refused:
        return models.CollectionExistence(exists=False)
    return models.CollectionExistence(exists=True)


def _create_vector(call: Call) -> models.UpdateResult:
    call.store.create_vector(call.name, call.path[1], call.body)
    return call.written()


def _drop_vector(call: Call) -> models.UpdateResult:
    call.store.drop_vector(call.name, call.path[1])
    return call.written()


def _batch(call: Call) -> list[models.UpdateResult]:
    call.store.write(call.name, call.body.operations)
    return [call.written() for _ in call.body.operations]


def _index(call: Call) -> models.UpdateResult:
    call.store.index(call.name, call.body.field_name, call.body.field_schema)
    return call.written()


def _drop_index(call: Call) -> models.UpdateResult:
    call.store.drop_index(call.name, call.path[1])
    return call.written()


def _point(call: Call) -> models.Record:
    id = int(call.path[1]) if call.path[1].isdecimal() else call.path[1]
    asked = models.PointRequest(ids=[id], with_vector=True)
    found = reads.retrieve(call.store, call.name, asked)
    if not found:
        raise Refused(404, f"Not found: Point with id {id} does not exists!")
    return found[0]


def _aliases(call: Call) -> models.CollectionsAliasesResponse:
    if call.path:
        return call.store.local.get_collection_aliases(call.store.find(call.name)[0])
    return call.store.local.get_aliases()


def _shard_keys(call: Call) -> models.ShardKeysResponse:
    keys = call.store.find(call.name)[1].shards.keys
    return models.ShardKeysResponse(
        shard_keys=[models.ShardKeyDescription(key=key) for key in keys]
    )


def _create_shard_key(call: Call) -> bool:
    call.store.find(call.name)[1].shards.create(call.body.shard_key)
    return True


def _cluster(call: Call) -> dict[str, Any]:
    return {
        "status": "enabled",
        "peer_id": PEER,
        "peers": {str(PEER): {"uri": "http://127.0.0.1:6335/"}},
        "raft_info": {"term": 1, "commit": 1, "pending_operations": 0, "leader": PEER}
        | {"role": "Leader", "is_voter": True},
        "consensus_thread_status": {
            "consensus_thread_status": "working",
            "last_update": "2026-01-01T00:00:00Z",
        },
        "message_send_failures": {},
    }


COLLECTION = "/collections/{c}"
POINTS = COLLECTION + "/points"
SNAPSHOTS = COLLECTION + "/snapshots"

ROUTES = [
    _route("GET", "/", None, _root, raw=True),
    _route("GET", "/cluster", None, _cluster),
    _route("GET", "/collections", None, lambda call: call.store.local.get_collections()),
    _route("GET", COLLECTION, None, lambda call: call.store.info(call.name)),
    _route(
        "PUT",
        COLLECTION,
        models.CreateCollection,
        lambda call: call.store.create(call.name, call.body),
    ),
    _route(
        "PATCH",
        COLLECTION,
        models.UpdateCollection,
        lambda call: call.store.update(call.name, call.body),
    ),
    _route("DELETE", COLLECTION, None, lambda call: call.store.delete(call.name)),
    _route("GET", COLLECTION + "/exists", None, _exists),
    _route("PUT", COLLECTION + "/vectors/{v}", models.VectorNameConfig, _create_vector),
    _route("DELETE", COLLECTION + "/vectors/{v}", None, _drop_vector),
    _route("PUT", COLLECTION + "/index", models.CreateFieldIndex, _index),
    _route("DELETE", COLLECTION + "/index/{f}", None, _drop_index),
    _route("GET", COLLECTION + "/aliases", None, _aliases),
    _route("GET", "/aliases", None, _aliases),
    _route(
        "POST",
        "/collections/aliases",
        models.ChangeAliasesOperation,
        lambda call: call.store.update_aliases(call.body.actions),
    ),
    # Points: writes
    _update("PUT", "", models.PointInsertOperations, models.UpsertOperation, "upsert"),
    _update("POST", "/delete", models.PointsSelector, models.DeleteOperation, "delete"),
    _update("POST", "/payload", models.SetPayload, models.SetPayloadOperation, "set_payload"),
    _update(
        "PUT", "/payload", models.SetPayload, models.OverwritePayloadOperation, "overwrite_payload"
    ),
    _update(
        "POST",
        "/payload/delete",
        models.DeletePayload,
        models.DeletePayloadOperation,
        "delete_payload",
    ),
    _update(
        "POST",
        "/payload/clear",
        models.PointsSelector,
        models.ClearPayloadOperation,
        "clear_payload",
    ),
    _update(
        "PUT", "/vectors", models.UpdateVectors, models.UpdateVectorsOperation, "update_vectors"
    ),
    _update(
        "POST",
        "/vectors/delete",
        models.DeleteVectors,
        models.DeleteVectorsOperation,
        "delete_vectors",
    ),
    _route("POST", POINTS + "/batch", models.UpdateOperations, _batch),
    # Points: reads
    _route("GET", POINTS + "/{id}", None, _point),
    _route(
        "POST",
        POINTS,
        models.PointRequest,
        lambda call: reads.retrieve(call.store, call.name, call.body),
    ),
    _route(
        "POST",
        POINTS + "/scroll",
        models.ScrollRequest,
        lambda call: reads.scroll(call.store, call.name, call.body),
    ),
    _route(
        "POST",
        POINTS + "/count",
        models.CountRequest,
        lambda call: reads.count(call.store, call.name, call.body),
    ),
    _route(
        "POST",
        POINTS + "/query",
        models.QueryRequest,
        lambda call: reads.query(call.store, call.name, call.body),
    ),
    _route(
        "POST",
        POINTS + "/query/batch",
        models.QueryRequestBatch,
        lambda call: reads.query_batch(call.store, call.name, call.body.searches),
    ),
    _route(
        "POST",
        POINTS + "/query/groups",
        models.QueryGroupsRequest,
        lambda call: reads.query_groups(call.store, call.name, call.body),
    ),
    _route(
        "POST",
        POINTS + "/search/matrix/pairs",
        models.SearchMatrixRequest,
        lambda call: reads.matrix(call.store, call.name, call.body, pairs=True),
    ),
    _route(
        "POST",
        POINTS + "/search/matrix/offsets",
        models.SearchMatrixRequest,
        lambda call: reads.matrix(call.store, call.name, call.body, pairs=False),
    ),
    _route(
        "POST",
        COLLECTION + "/facet",
        models.FacetRequest,
        lambda call: reads.facet(call.store, call.name, call.body),
    ),
    # Shards
    _route("GET", COLLECTION + "/cluster", None, lambda call: call.store.cluster_info(call.name)),
    _route("GET", COLLECTION + "/shards", None, _shard_keys),
    _route("PUT", COLLECTION + "/shards", models.CreateShardingKey, _create_shard_key),
    _route(
        "POST",
        COLLECTION + "/shards/delete",
        models.DropShardingKey,
        lambda call: call.store.drop_shard_key(call.name, call.body.shard_key),
    ),
    # Snapshots: of a collection, and of all
    _route("GET", SNAPSHOTS, None, lambda call: call.store.snapshots(call.name)),
    _route("POST", SNAPSHOTS, None, lambda call: call.store.snapshot(call.name)),
    _route(
        "GET",
        SNAPSHOTS + "/{s}",
        None,
        lambda call: call.store.snapshot_file(*call.path),
        raw=True,
    ),
    _route("DELETE", SNAPSHOTS + "/{s}", None, lambda call: call.store.drop_snapshot(*call.path)),
    _route("GET", "/snapshots", None, lambda call: call.store.snapshots(None)),
    _route("POST", "/snapshots", None, lambda call: call.store.snapshot(None)),
    _route(
        "GET",
        "/snapshots/{s}",
        None,
        lambda call: call.store.snapshot_file(None, call.name),
        raw=True,
    ),
    _route(
        "DELETE", "/snapshots/{s}", None, lambda call: call.store.drop_snapshot(None, call.name)
    ),
]
