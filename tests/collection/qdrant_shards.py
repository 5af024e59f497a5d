"""The shards of a collection on the test servers: which keys there are, and who lies where.

Points of every shard are in one local collection, so a shard is a set of ids. A point's id lives
under one key only; a server would keep a copy in each. Words and statuses of what is refused
follow the server's `sharding_keys.rs` and `shard_holder`.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from qdrant_client.http import models
from qdrant_client.local.utils import normalize_point_id

PEER = 1


class Refused(Exception):
    """What a server answers with a status of 400 or more."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class Shards:
    """The shard keys of a collection, and the key of each point; both empty unless custom."""

    custom: bool
    keys: list[models.ShardKey] = field(default_factory=list)
    of: dict[Any, models.ShardKey] = field(default_factory=dict)

    def create(self, key: models.ShardKey) -> None:
        if not self.custom:
            raise Refused(
                400, f"Bad request: Shard Key {key} cannot be created with Auto sharding method"
            )
        if key in self.keys:
            raise Refused(400, f"Bad request: Shard key {key} already exists")
        self.keys.append(key)

    def drop(self, key: models.ShardKey) -> list[Any]:
        """Forget a key, and return the ids of the points that lay under it."""
        if key not in self.keys:
            raise Refused(400, f"Bad request: Shard key {key} does not exist")
        gone = [point for point, shard in self.of.items() if shard == key]
        self.keys.remove(key)
        for point in gone:
            del self.of[point]
        return gone

    def selected(self, selector: Any, *, writes: bool) -> list[models.ShardKey]:
        """Return the keys that a selector means."""
        if isinstance(selector, models.ShardKeyWithFallback):
            there = selector.target in self.keys
            selector = selector.target if there else selector.fallback
        keys: list[models.ShardKey] = selector if isinstance(selector, list) else [selector]
        for key in keys:
            if key not in self.keys:
                # The one is the server's bad_input, the other its bad_request.
                word = "Wrong input" if writes else "Bad request"
                raise Refused(400, f"{word}: Shard key {key} not found")
        return keys

    def members(self, selector: Any, *, writes: bool = False) -> set[Any] | None:
        """Return the ids of the points in the selected shards; None for those of all."""
        if selector is None:
            if writes and self.custom:
                raise Refused(400, "Wrong input: Shard key not specified")
            return None
        keys = self.selected(selector, writes=writes)
        return {point for point, shard in self.of.items() if shard in keys}

    def narrowed(self, operation: models.UpdateOperation) -> models.UpdateOperation:
        """Return an update that reaches the points of the shards it names only."""
        body = wrapped(operation)
        members = self.members(body.shard_key, writes=True)
        if members is None:
            return operation
        if isinstance(operation, models.UpsertOperation):
            if len(self.selected(body.shard_key, writes=True)) != 1 or any(
                point in self.of and point not in members for point in upserted(operation)
            ):
                raise Refused(501, "this server keeps a point under one shard key only")
            return operation
        change: dict[str, Any] = {}
        if getattr(body, "filter", None) is not None:
            change["filter"] = within(body.filter, members)
        if getattr(body, "points", None) is not None:
            lost = [id_of(point) for point in body.points if id_of(point) not in members]
            if lost and not isinstance(operation, models.DeleteOperation):
                raise Refused(404, f"Not found: No point with id {lost[0]} found")
            change["points"] = [point for point in body.points if id_of(point) in members]
            if body.points and not change["points"]:
                # Local mode refuses an empty list; this filter fits nothing.
                body, change = models.FilterSelector(filter=within(None, set())), {}
        [key] = type(operation).model_fields
        return operation.model_copy(update={key: body.model_copy(update=change)})

    def settle(self, operation: models.UpdateOperation) -> None:
        """Remember where the points of an upsert lie."""
        if isinstance(operation, models.UpsertOperation):
            [key] = self.selected(operation.upsert.shard_key, writes=True)
            self.of |= dict.fromkeys(upserted(operation), key)

    def cluster_info(self, count: int, number: int) -> models.CollectionClusterInfo:
        """Return one peer with all shards; without shard keys the first holds all points."""
        keys: list[Any] = list(self.keys) if self.custom else [None] * number
        held = list(self.of.values())
        return models.CollectionClusterInfo(
            peer_id=PEER,
            shard_count=len(keys),
            local_shards=[
                models.LocalShardInfo(
                    shard_id=shard,
                    shard_key=key,
                    points_count=held.count(key) if self.custom else count * (shard == 0),
                    state=models.ReplicaState.ACTIVE,
                )
                for shard, key in enumerate(keys)
            ],
            remote_shards=[],
            shard_transfers=[],
        )


def wrapped(operation: models.UpdateOperation) -> Any:
    """Return what an update wraps in its one field."""
    [key] = type(operation).model_fields
    return getattr(operation, key)


def id_of(point: Any) -> models.ExtendedPointId:
    """Return the id of a point, or of what is an id already, as local mode spells it."""
    return normalize_point_id(
        point if isinstance(point, uuid.UUID) else getattr(point, "id", point)
    )


def upserted(operation: models.UpsertOperation) -> list[models.ExtendedPointId]:
    """Return the ids an upsert names."""
    if isinstance(operation.upsert, models.PointsBatch):
        return [id_of(point) for point in operation.upsert.batch.ids]
    return [id_of(point) for point in operation.upsert.points]


def within(chosen: models.Filter | None, members: set[Any]) -> models.Filter:
    """Fit the points that `chosen` fits and whose ids are members."""
    must: list[models.Condition] = [models.HasIdCondition(has_id=sorted(members, key=str))]
    return models.Filter(must=must if chosen is None else [chosen, *must])
