"""What the test servers answer from: qdrant-client's local mode, and what local mode leaves out.

It is no stand-in for a Qdrant server's engine: local mode compares every vector, and nothing here
is indexed, quantized or replicated. What is asked for is kept and shown: HNSW, optimizer and
quantization settings, strict mode, payload indexes, shards, snapshots. It holds a caller to the
rules a server has and local mode has not: shard keys where sharding is custom.

It speaks Qdrant's REST models only, and knows nothing of sockets. Callers hold `lock` around
every call: local mode is not thread-safe. Statuses and words of refusals follow the server's
`StorageError`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic_core import to_json
from qdrant_client.http import models
from qdrant_client.local.qdrant_local import QdrantLocal

from tests.collection.qdrant_shards import PEER, Refused, Shards

AnyModel = TypeVar("AnyModel", bound=BaseModel)


@dataclass
class Record:
    """What is known of a collection beside its points."""

    config: models.CollectionConfig
    shards: Shards
    indexes: dict[str, Any] = field(default_factory=dict)
    writes: int = 0


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what local mode raises into the status a server answers."""
    try:
        yield
    except KeyError as error:
        raise Refused(404, f"Not found: No point with id {error.args[0]} found") from error
    except NotImplementedError as error:
        raise Refused(501, str(error)) from error
    except (ValueError, TypeError) as error:
        text = str(error).removeprefix("Wrong input: ")
        if "is invalid. Must be" in text:
            raise Refused(422, f"Validation error in JSON body: [{text}]") from error
        raise Refused(400, f"Wrong input: {text}") from error


class Store:
    """Collections, and the calls of Qdrant's API on them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.local = QdrantLocal(":memory:")
        # What it says it is; the client warns where its minor version is more than one away.
        self.version = "1.20.0"
        self._records: dict[str, Record] = {}
        # By collection; None holds those of the whole storage.
        self._snapshots: dict[str | None, dict[str, bytes]] = {None: {}}
        self._taken = 0

    def find(self, name: str) -> tuple[str, Record]:
        """Return a collection's own name, behind an alias or not, and its record."""
        name = self.local.aliases.get(name, name)
        if name not in self._records:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        return name, self._records[name]

    # Collections

    def create(self, name: str, asked: models.CreateCollection) -> bool:
        if name in self._records or name in self.local.aliases:
            raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
        with refusals():
            self.local.create_collection(
                name, asked.vectors, asked.sparse_vectors, metadata=asked.metadata
            )
        config = self.local.get_collection(name).config
        given = {
            key: value
            for key, value in asked.model_dump(exclude_none=True).items()
            if key in models.CollectionParams.model_fields and key != "sparse_vectors"
        }
        config.params = models.CollectionParams.model_validate(
            {"shard_number": 1, "replication_factor": 1, "write_consistency_factor": 1}
            | {"on_disk_payload": True}
            | given
        )
        custom = config.params.sharding_method == models.ShardingMethod.CUSTOM
        self._records[name] = Record(config, Shards(custom))
        self._snapshots[name] = {}
        self._configure(config, asked)
        return True

    def update(self, name: str, asked: models.UpdateCollection) -> bool:
        name, record = self.find(name)
        with refusals():
            self.local.update_collection(
                name,
                sparse_vectors_config=asked.sparse_vectors,
                metadata=asked.metadata,
                vectors_config=asked.vectors,
            )
        config = record.config
        config.params = merged(config.params, asked.params)
        if asked.vectors is not None:
            vectors = named(config.params.vectors)
            vectors |= {key: merged(vectors[key], diff) for key, diff in asked.vectors.items()}
            config.params.vectors = vectors[""] if set(vectors) == {""} else vectors
        self._configure(config, asked)
        return True

    def _configure(
        self,
        config: models.CollectionConfig,
        asked: models.CreateCollection | models.UpdateCollection,
    ) -> None:
        config.hnsw_config = merged(config.hnsw_config, asked.hnsw_config)
        optimizers = asked.optimizers_config
        if optimizers is not None and not isinstance(optimizers.max_optimization_threads, int):
            optimizers = optimizers.model_copy(update={"max_optimization_threads": None})
        config.optimizer_config = merged(config.optimizer_config, optimizers)
        if isinstance(asked, models.CreateCollection) and config.wal_config is not None:
            config.wal_config = merged(config.wal_config, asked.wal_config)
        if isinstance(asked.quantization_config, models.Disabled):
            config.quantization_config = None
        elif asked.quantization_config is not None:
            config.quantization_config = asked.quantization_config
        config.strict_mode_config = merged(
            config.strict_mode_config or models.StrictModeConfigOutput(), asked.strict_mode_config
        )

    def delete(self, name: str) -> bool:
        self._records.pop(name, None)
        self._snapshots.pop(name, None)
        return self.local.delete_collection(name)

    def info(self, name: str) -> models.CollectionInfo:
        name, record = self.find(name)
        found = self.local.get_collection(name)
        config = record.config.model_copy(deep=True)
        config.metadata = found.config.metadata
        config.params.sparse_vectors = found.config.params.sparse_vectors
        found.config = config
        found.payload_schema = {
            path: models.PayloadIndexInfo(
                data_type=index_kind(schema),
                params=None if isinstance(schema, models.PayloadSchemaType) else schema,
                points=self.local.count(name, has_field(path)).count,
            )
            for path, schema in record.indexes.items()
        }
        return found

    def create_vector(self, name: str, vector: str, asked: models.VectorNameConfig) -> None:
        name, record = self.find(name)
        with refusals():
            self.local.create_vector_name(name, vector, asked)
        vectors = named(record.config.params.vectors)
        if isinstance(asked, models.DenseVectorNameConfig) and vector not in vectors:
            vectors[vector] = models.VectorParams(**asked.dense.model_dump(exclude_none=True))
            record.config.params.vectors = vectors

    def drop_vector(self, name: str, vector: str) -> None:
        name, record = self.find(name)
        with refusals():
            self.local.delete_vector_name(name, vector)
        vectors = named(record.config.params.vectors)
        if vectors.pop(vector, None) is not None:
            record.config.params.vectors = vectors

    def index(self, name: str, path: str, schema: Any) -> None:
        """Remember a payload index; local mode makes use of scoring text indexes alone."""
        name, record = self.find(name)
        if schema is None:
            raise Refused(400, f"Bad request: cannot tell the type of the field {path}")
        record.indexes[path] = schema
        self.local.collections[name].create_payload_index(path, schema)

    def drop_index(self, name: str, path: str) -> None:
        name, record = self.find(name)
        record.indexes.pop(path, None)
        self.local.collections[name].delete_payload_index(path)

    def update_aliases(self, actions: Sequence[models.AliasOperations]) -> bool:
        for action in actions:
            if isinstance(action, models.CreateAliasOperation):
                self.find(action.create_alias.collection_name)
        with refusals():
            return self.local.update_collection_aliases(actions)

    # Writes

    def write(self, name: str, operations: Sequence[models.UpdateOperation]) -> None:
        """Apply updates in order, each within the shards it names."""
        name, record = self.find(name)
        shards = record.shards
        for operation in operations:
            with refusals():
                self.local.batch_update_points(name, [shards.narrowed(operation)])
                if shards.custom:
                    shards.settle(operation)
                    there = {point.id for point in self.local.retrieve(name, list(shards.of))}
                    shards.of = {point: key for point, key in shards.of.items() if point in there}

    def done(self, name: str, *, wait: bool) -> models.UpdateResult:
        """Return a write's answer."""
        record = self.find(name)[1]
        record.writes += 1
        status = models.UpdateStatus.COMPLETED if wait else models.UpdateStatus.ACKNOWLEDGED
        return models.UpdateResult(operation_id=record.writes, status=status)

    def drop_shard_key(self, name: str, key: models.ShardKey) -> bool:
        """Drop a shard key with its points."""
        name, record = self.find(name)
        gone = record.shards.drop(key)
        if gone:
            self.local.delete(name, models.PointIdsList(points=gone))
        return True

    def cluster_info(self, name: str) -> models.CollectionClusterInfo:
        name, record = self.find(name)
        number = record.config.params.shard_number or 1
        return record.shards.cluster_info(self.local.count(name).count, number)

    # Snapshots

    def snapshot(self, name: str | None) -> models.SnapshotDescription:
        """Dump a collection, or all of them, to JSON that a test can download."""
        own = None if name is None else self.find(name)[0]
        held = {key: self._dump(key) for key in self._records if own in (None, key)}
        self._taken += 1
        file = f"{own or 'full-snapshot'}-{PEER}-{self._taken:06}.snapshot"
        self._snapshots[own][file] = to_json(held)
        return self.snapshots(name)[-1]

    def _dump(self, name: str) -> dict[str, Any]:
        count = max(1, self.local.count(name).count)
        points, _ = self.local.scroll(name, limit=count, with_vectors=True)
        return {"info": self.info(name), "points": points}

    def snapshots(self, name: str | None) -> list[models.SnapshotDescription]:
        own = None if name is None else self.find(name)[0]
        return [
            models.SnapshotDescription(
                name=file, size=len(content), checksum=hashlib.sha256(content).hexdigest()
            )
            for file, content in self._snapshots[own].items()
        ]

    def snapshot_file(self, name: str | None, file: str) -> bytes:
        own = None if name is None else self.find(name)[0]
        if file not in self._snapshots[own]:
            raise Refused(404, f"Not found: Snapshot {file} not found")
        return self._snapshots[own][file]

    def drop_snapshot(self, name: str | None, file: str) -> bool:
        self.snapshot_file(name, file)
        del self._snapshots[None if name is None else self.find(name)[0]][file]
        return True


def merged(model: AnyModel, diff: BaseModel | None) -> AnyModel:
    """Return a model with what another names of its fields."""
    if diff is None:
        return model
    change = {
        key: value
        for key, value in diff.model_dump(exclude_none=True).items()
        if key in type(model).model_fields
    }
    if change.get("quantization_config") == models.Disabled.DISABLED:
        change["quantization_config"] = None
    return type(model).model_validate(model.model_dump(exclude_none=True) | change)


def named(vectors: Any) -> dict[str, models.VectorParams]:
    """Return vector parameters by name; the unnamed vector's name is empty."""
    if isinstance(vectors, models.VectorParams):
        return {"": vectors}
    return dict(vectors or {})


def index_kind(schema: Any) -> models.PayloadSchemaType:
    """Return the type of a payload index, given as a type or as parameters."""
    if isinstance(schema, models.PayloadSchemaType):
        return schema
    return models.PayloadSchemaType(schema.type.value)


def has_field(path: str) -> models.Filter:
    """Fit the points that have a value at this path."""
    empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=path))
    return models.Filter(must_not=[empty])
