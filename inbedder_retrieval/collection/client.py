"""The qdrant-client engines: a server over the network, or local mode in memory or in a folder.

The registry is the collection's own metadata. Local mode is not thread-safe, so its calls pass
one lock; it has no payload indexes either. A server is spoken to by the blocking client, or by the
one for asyncio: the methods are the same, and await what has to be awaited.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from qdrant_client import AsyncQdrantClient, QdrantClient, models

from inbedder_retrieval.collection.aliases import real_name, set_alias
from inbedder_retrieval.collection.client_terms import (
    DIALECT,
    INDEX_KINDS,
    OLDER,
    by_shard,
    filter_of,
    found_of,
    lists_of,
    point_of,
    quantization_of,
    search_arguments,
)
from inbedder_retrieval.collection.connection import Connection, server_address
from inbedder_retrieval.collection.engine import FoundPoint, Point, SearchRequest, make_way
from inbedder_retrieval.collection.filters import FieldKind, Where
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.line import Line
from inbedder_retrieval.collection.location import LOCAL_COLLECTION, is_server
from inbedder_retrieval.collection.storage import Storage
from inbedder_retrieval.errors import (
    CollectionExists,
    CollectionNotFound,
    EngineError,
)

__all__ = ["ClientEngine"]

# While a server builds its graphs, it is asked this often whether it has finished.
POLL_SECONDS = 0.5
# Views come and go since the one; texts are matched by substring since the other.
OLDEST, WITH_SUBSTRING = (1, 18), (1, 20)


class ClientEngine:
    """One collection behind a qdrant-client."""

    def __init__(self, line: Line, collection: str) -> None:
        self._line = line
        self._collection = collection
        self._where = line.where
        self._server = is_server(line.where)
        self._dialect = DIALECT
        self._shard_keys: set[str] = set()

    @classmethod
    def create(
        cls,
        location: str | Path,
        vectors: Mapping[str, int],
        registry: Mapping[str, Any],
        storage: Storage,
        connection: Connection | None = None,
    ) -> ClientEngine:
        """Create the collection with its registry in one call."""
        new = isinstance(location, Path) and not location.exists()
        engine = cls._connect(location, connection)
        try:
            run(engine._create(location, vectors, registry, storage))
        except BaseException:
            run(engine.close())
            if new:
                shutil.rmtree(location)
            raise
        return engine

    async def _create(
        self,
        location: str | Path,
        vectors: Mapping[str, int],
        registry: Mapping[str, Any],
        storage: Storage,
    ) -> None:
        action = "create a collection"
        await self._check_version(action)
        if await self._call(action, "collection_exists", patience=0.0):
            raise CollectionExists(
                f"{location} already has a collection {self._collection!r}; "
                "open it, or give another name"
            )
        sharding = models.ShardingMethod.CUSTOM if storage.shard_per_tenant else None
        await self._call(
            action,
            "create_collection",
            vectors_config={
                name: models.VectorParams(
                    size=width, distance=models.Distance.COSINE, on_disk=storage.on_disk or None
                )
                for name, width in vectors.items()
            },
            hnsw_config=models.HnswConfigDiff(
                m=storage.hnsw_m, ef_construct=storage.hnsw_ef_construct
            ),
            quantization_config=quantization_of(storage),
            shard_number=storage.shard_number,
            sharding_method=sharding,
            replication_factor=storage.replication_factor,
            write_consistency_factor=storage.write_consistency_factor,
            metadata=dict(registry),
        )

    @classmethod
    def open(cls, location: str | Path, connection: Connection | None = None) -> ClientEngine:
        """Connect to the collection, or raise CollectionNotFound."""
        engine = cls._connect(location, connection)
        try:
            if not run(engine._exists()):
                raise CollectionNotFound(
                    f"{location} has no collection {engine._collection!r}; create it first"
                )
        except BaseException:
            run(engine.close())
            raise
        return engine

    async def _exists(self) -> bool:
        action = "open the collection"
        await self._check_version(action)
        if await self._call(action, "collection_exists", patience=0.0):
            return True
        if not self._server:
            return False
        # An alias stands for a collection in every other call.
        return await real_name(self._line, self._collection) != self._collection

    async def _check_version(self, action: str) -> None:
        """Learn what the server can do; raise EngineError where that is not enough."""
        if not self._server:
            return
        said = str((await self._line.ask(action, "info", patience=0.0)).version)
        numbers = tuple(int(number) for number in re.findall(r"\d+", said)[:2])
        if numbers < OLDEST:
            raise EngineError(
                f"the server at {self._where} is Qdrant {said}; views come and go on a server of "
                f"version {'.'.join(map(str, OLDEST))} or newer"
            )
        self._dialect = DIALECT if numbers >= WITH_SUBSTRING else OLDER

    @classmethod
    def _connect(cls, location: str | Path, connection: Connection | None = None) -> ClientEngine:
        if is_server(location):
            line = Line.to_server(QdrantClient, str(location), connection or Connection())
            return cls(line, server_address(str(location)).collection)
        return cls(Line.to_local(location), LOCAL_COLLECTION)

    def awaiting(self) -> ClientEngine | None:
        """Return another engine over the same collection of a server, for an event loop."""
        if not self._server:
            return None
        line = Line.to_server(AsyncQdrantClient, self._where, self._line.connection)
        engine = ClientEngine(line, self._collection)
        engine._dialect = self._dialect
        return engine

    async def _call(self, action: str, method: str, *given: Any, **named: Any) -> Any:
        """Call a method of the client on the collection."""
        return await self._line.ask(action, method, self._collection, *given, **named)

    async def kind(self) -> str:
        """Say what is running, with its version."""
        if not self._server:
            return f"local (qdrant-client {version('qdrant-client')})"
        about = await self._line.ask("ask the server for its version", "info")
        return f"server (Qdrant {about.version})"

    async def read_registry(self) -> dict[str, Any]:
        """Return the registry's flat entries."""
        return dict((await self._about()).config.metadata or {})

    async def write_registry(self, changes: Mapping[str, Any]) -> None:
        """Set these entries; the server merges them with those that are there."""
        await self._call("write the registry", "update_collection", metadata=dict(changes))

    async def _about(self) -> models.CollectionInfo:
        about = await self._call("read the collection's settings", "get_collection")
        return cast("models.CollectionInfo", about)

    async def vectors(self) -> dict[str, int]:
        """Return the width of every named vector."""
        return {name: params.size for name, params in (await self._parameters()).items()}

    async def _parameters(self) -> dict[str, models.VectorParams]:
        vectors = (await self._about()).config.params.vectors
        return vectors if isinstance(vectors, dict) else {}

    async def add_vectors(self, widths: Mapping[str, int]) -> None:
        """Make named vectors that no point has yet; one that is there stays as it is."""
        have = await self._parameters()
        on_disk = any(params.on_disk for params in have.values())
        for name in widths.keys() - have:
            config = models.DenseVectorNameConfig(
                dense=models.DenseVectorConfig(size=widths[name], distance=models.Distance.COSINE)
            )
            action = f"make the vector {name}"
            await self._call(action, "create_vector_name", name, config)
            if on_disk and self._server:  # Which can only be told once it is there.
                lies = {name: models.VectorParamsDiff(on_disk=True)}
                await self._call(action, "update_collection", vectors_config=lies)

    async def drop_vectors(self, names: Sequence[str]) -> None:
        """Delete named vectors from all points; one that is not there is passed over."""
        have = await self.vectors()
        for name in names:
            if name in have:
                await self._call(f"drop the vector {name}", "delete_vector_name", name)

    async def count(self, where: Where | None = None, *, lacking: Sequence[str] = ()) -> int:
        """Count points exactly: those that fit the filter and lack any of these vectors."""
        await make_way(self, where)
        conditions = filter_of(where, lacking, dialect=self._dialect)
        found = await self._call("count", "count", count_filter=conditions, exact=True)
        return cast("int", found.count)

    async def scroll(
        self,
        keys: Sequence[str],
        *,
        limit: int,
        after: str | None = None,
        where: Where | None = None,
        lacking: Sequence[str] = (),
        vectors: Sequence[str] = (),
    ) -> tuple[list[Point], str | None]:
        """Return points as `count` counts them, in the order of their ids."""
        await make_way(self, where)
        records, following = await self._call(
            "list points",
            "scroll",
            scroll_filter=filter_of(where, lacking, dialect=self._dialect),
            limit=limit,
            offset=after,
            with_payload=list(keys),
            with_vectors=list(vectors),
        )
        return [point_of(record) for record in records], None if following is None else str(
            following
        )

    async def retrieve(
        self, ids: Sequence[str], keys: Sequence[str], *, vectors: Sequence[str] = ()
    ) -> dict[str, Point]:
        """Return those of the ids that are stored, with these payload keys and vectors."""
        records = await self._call(
            f"read {len(ids)} points",
            "retrieve",
            list(ids),
            with_payload=list(keys),
            with_vectors=list(vectors),
        )
        return {str(record.id): point_of(record) for record in records}

    async def upsert(self, points: Sequence[Point]) -> None:
        """Write whole points; what was stored under their ids is replaced."""
        for shard, batch in by_shard(points):
            await self._make_shard(shard)
            structs = [
                models.PointStruct(id=point.id, vector=lists_of(point), payload=point.payload)
                for point in batch
            ]
            await self._call(
                f"write {len(structs)} points", "upsert", structs, shard_key_selector=shard
            )

    async def overwrite_payload(self, points: Sequence[Point]) -> None:
        """Replace the payload of stored points and leave their vectors."""
        for shard, batch in by_shard(points):
            operations = [
                models.OverwritePayloadOperation(
                    overwrite_payload=models.SetPayload(
                        payload=point.payload, points=[point.id], shard_key=shard
                    )
                )
                for point in batch
            ]
            action = f"write the payload of {len(operations)} points"
            await self._call(action, "batch_update_points", operations)

    async def fill_vectors(self, points: Sequence[Point], names: Sequence[str]) -> None:
        """Write vectors to stored points that still lack any of `names`; leave all else."""
        for shard, batch in by_shard(points):
            vectors = [models.PointVectors(id=point.id, vector=lists_of(point)) for point in batch]
            await self._call(
                f"write vectors of {len(vectors)} points",
                "update_vectors",
                vectors,
                update_filter=filter_of(None, names),
                shard_key_selector=shard,
            )

    async def clear_vectors(self, points: Sequence[Point], names: Sequence[str]) -> None:
        """Delete these vectors from these points."""
        for shard, batch in by_shard(points):
            await self._call(
                f"delete vectors of {len(batch)} points",
                "delete_vectors",
                list(names),
                models.PointIdsList(points=[point.id for point in batch]),
                shard_key_selector=shard,
            )

    async def delete(self, points: Sequence[Point]) -> None:
        """Delete points; those that are not stored are passed over."""
        for shard, batch in by_shard(points):
            await self._call(
                f"delete {len(batch)} points",
                "delete",
                models.PointIdsList(points=[point.id for point in batch]),
                shard_key_selector=shard,
            )

    async def _make_shard(self, shard: str | None) -> None:
        """Give a tenant shards of its own, where it has none."""
        if shard is None or shard in self._shard_keys:
            return
        found = await self._call("list the shard keys", "list_shard_keys")
        self._shard_keys = {str(one.key) for one in found.shard_keys or []}
        if shard not in self._shard_keys:
            await self._call(f"make shards for {shard!r}", "create_shard_key", shard)
            self._shard_keys.add(shard)

    async def search(self, request: SearchRequest) -> list[FoundPoint]:
        """Return the points that fit best, best first."""
        await make_way(self, request.where)
        response = await self._call(
            "search",
            "query_points",
            **search_arguments(request, dialect=self._dialect, server=self._server),
        )
        return [found_of(point) for point in response.points]

    async def indexed_fields(self) -> dict[str, str]:
        """Return the kind of index of every payload path that has one; local mode has none."""
        found = (await self._about()).payload_schema
        return {path: index.data_type.value for path, index in found.items()}

    async def index_fields(self, fields: Mapping[str, FieldKind]) -> None:
        """Create payload indexes where there are none yet; local mode filters without."""
        if not self._server:
            return
        have = await self.indexed_fields()
        for path, kind in fields.items():
            if path not in have:
                action = f"index the field {path}"
                await self._call(action, "create_payload_index", path, INDEX_KINDS[kind])

    async def drop_index(self, path: str) -> None:
        """Delete a payload index; one that is not there is passed over."""
        await self._call(f"drop the index of {path}", "delete_payload_index", path)

    async def optimize(self, progress: Callable[[float], None] | None = None) -> None:
        """Wait until a server has built its graphs; local mode compares with every point."""
        start = time.monotonic()
        while self._server and (await self._about()).status == models.CollectionStatus.YELLOW:
            await self._line.sleep(POLL_SECONDS)
            if progress is not None:
                progress(time.monotonic() - start)

    async def set_alias(self, name: str) -> None:
        """Let another name stand for the collection, from one moment to the next."""
        self._need_server(f"give it the alias {name!r}")
        await set_alias(self._line, self._collection, name)

    async def snapshot(self) -> str:
        """Write a snapshot and return its name."""
        self._need_server("write a snapshot")
        name = await real_name(self._line, self._collection)
        return str((await self._line.ask("write a snapshot", "create_snapshot", name)).name)

    def _need_server(self, action: str) -> None:
        if not self._server:
            raise EngineError(f"could not {action}: {self._where} is no Qdrant server")

    async def flush(self) -> None:
        """Do nothing: every write was waited for."""

    async def close(self) -> None:
        """Let go of the location. Further calls raise."""
        await self._line.close()
