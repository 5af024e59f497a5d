"""The qdrant-client engines: a server over the network, or local mode in memory or in a folder.

The registry is the collection's own metadata. Local mode is not thread-safe, so its calls pass
one lock; it has no payload indexes either.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from inbedder_retrieval.collection.address import server_address
from inbedder_retrieval.collection.engine import (
    LOCAL_COLLECTION,
    MEMORY,
    SERVER,
    FoundPoint,
    Point,
    VectorQuery,
    candidate_count,
)
from inbedder_retrieval.collection.filters import Dialect, FieldKind, Where, compile_where
from inbedder_retrieval.collection.requests import requests_of
from inbedder_retrieval.errors import (
    CollectionExists,
    CollectionLocked,
    CollectionNotFound,
    EngineError,
    InputError,
)

__all__ = ["ClientEngine"]

DIALECT = Dialect(models, models.Range)
INDEX_KINDS = {
    "keyword": models.PayloadSchemaType.KEYWORD,
    "float": models.PayloadSchemaType.FLOAT,
    "bool": models.PayloadSchemaType.BOOL,
}


class ClientEngine:
    """One collection behind a qdrant-client."""

    def __init__(self, client: QdrantClient, collection: str, where: str) -> None:
        self._client = client
        self._collection = collection
        self._where = where
        self._server = where.startswith(SERVER)
        self._lock = nullcontext() if self._server else threading.RLock()

    @classmethod
    def create(
        cls, location: str | Path, vectors: Mapping[str, int], registry: Mapping[str, Any]
    ) -> ClientEngine:
        """Create the collection with its registry in one call."""
        new = isinstance(location, Path) and not location.exists()
        engine = cls._connect(location)
        try:
            with engine._translated("create a collection"):
                if engine._client.collection_exists(engine._collection):
                    raise CollectionExists(
                        f"{location} already has a collection {engine._collection!r}; "
                        "open it, or give another name"
                    )
                engine._client.create_collection(
                    engine._collection,
                    vectors_config={
                        name: models.VectorParams(size=width, distance=models.Distance.COSINE)
                        for name, width in vectors.items()
                    },
                    metadata=dict(registry),
                )
        except BaseException:
            engine.close()
            if new:
                shutil.rmtree(location)
            raise
        return engine

    @classmethod
    def open(cls, location: str | Path) -> ClientEngine:
        """Connect to the collection, or raise CollectionNotFound."""
        engine = cls._connect(location)
        try:
            with engine._translated("open the collection"):
                if not engine._client.collection_exists(engine._collection):
                    raise CollectionNotFound(
                        f"{location} has no collection {engine._collection!r}; create it first"
                    )
        except BaseException:
            engine.close()
            raise
        return engine

    @classmethod
    def _connect(cls, location: str | Path) -> ClientEngine:
        if isinstance(location, Path):
            with _local_errors(location):
                return cls(QdrantClient(path=str(location)), LOCAL_COLLECTION, str(location))
        if location == MEMORY:
            return cls(QdrantClient(MEMORY), LOCAL_COLLECTION, MEMORY)
        address = server_address(location)
        try:
            client = QdrantClient(
                url=address.url,
                port=address.port,
                api_key=os.environ.get("QDRANT_API_KEY"),
                # The check would warn on a server that does not answer; the first call says so.
                check_compatibility=False,
            )
        except ValueError as error:
            raise InputError(
                f"{location!r} is no server address; write http://host:6333/collection"
            ) from error
        return cls(client, address.collection, location)

    @property
    def kind(self) -> str:
        """What is running, with its version."""
        if not self._server:
            return f"local (qdrant-client {version('qdrant-client')})"
        with self._translated("ask the server for its version"):
            return f"server (Qdrant {self._client.info().version})"

    def read_registry(self) -> dict[str, Any]:
        """Return the registry's flat entries."""
        with self._translated("read the registry"):
            return dict(self._client.get_collection(self._collection).config.metadata or {})

    def write_registry(self, entries: Mapping[str, Any]) -> None:
        """Keep these entries; the server merges them with those that are there."""
        with self._translated("write the registry"):
            self._client.update_collection(self._collection, metadata=dict(entries))

    def add_vectors(self, widths: Mapping[str, int]) -> None:
        """Make named vectors that no point has yet; one that is there stays as it is."""
        for name in widths.keys() - self._vectors():
            config = models.DenseVectorNameConfig(
                dense=models.DenseVectorConfig(size=widths[name], distance=models.Distance.COSINE)
            )
            with self._translated(f"make the vector {name}"):
                self._client.create_vector_name(self._collection, name, config, wait=True)

    def drop_vector(self, name: str) -> None:
        """Delete a named vector from all points; one that is not there is passed over."""
        if name in self._vectors():
            with self._translated(f"drop the vector {name}"):
                self._client.delete_vector_name(self._collection, name, wait=True)

    def _vectors(self) -> set[str]:
        with self._translated("read the named vectors"):
            vectors = self._client.get_collection(self._collection).config.params.vectors
        return set(vectors) if isinstance(vectors, dict) else set()

    def count_lacking(self, names: Sequence[str]) -> int:
        """Count the points that lack any of these vectors, exactly."""
        with self._translated("count"):
            return self._client.count(
                self._collection, count_filter=_lacking(names), exact=True
            ).count

    def lacking(
        self, names: Sequence[str], keys: Sequence[str], *, limit: int, after: str | None
    ) -> tuple[list[Point], str | None]:
        """Return points that lack any of these vectors, and where to go on."""
        with self._translated("list the points without a vector"):
            records, following = self._client.scroll(
                self._collection,
                scroll_filter=_lacking(names),
                limit=limit,
                offset=after,
                with_payload=list(keys),
            )
        points = [Point(str(record.id), dict(record.payload or {})) for record in records]
        return points, None if following is None else str(following)

    def fill_vectors(self, points: Sequence[Point], names: Sequence[str]) -> None:
        """Write vectors to stored points that still lack any of `names`; leave all else."""
        for batch in requests_of(points):
            vectors = [
                models.PointVectors(
                    id=point.id,
                    vector={name: vector.tolist() for name, vector in point.vectors.items()},
                )
                for point in batch
            ]
            with self._translated(f"write vectors of {len(vectors)} points"):
                self._client.update_vectors(
                    self._collection, vectors, wait=True, update_filter=_lacking(names)
                )

    def clear_vectors(self, ids: Sequence[str], names: Sequence[str]) -> None:
        """Delete these vectors from these points."""
        with self._translated(f"delete vectors of {len(ids)} points"):
            self._client.delete_vectors(
                self._collection, list(names), models.PointIdsList(points=list(ids)), wait=True
            )

    def upsert(self, points: Sequence[Point]) -> None:
        """Write whole points; what was stored under their ids is replaced."""
        for batch in requests_of(points):
            structs = [
                models.PointStruct(
                    id=point.id,
                    vector={name: vector.tolist() for name, vector in point.vectors.items()},
                    payload=point.payload,
                )
                for point in batch
            ]
            with self._translated(f"write {len(structs)} points"):
                self._client.upsert(self._collection, structs, wait=True)

    def overwrite_payload(self, points: Sequence[Point]) -> None:
        """Replace the payload of stored points and leave their vectors."""
        for batch in requests_of(points):
            operations: list[models.UpdateOperation] = [
                models.OverwritePayloadOperation(
                    overwrite_payload=models.SetPayload(payload=point.payload, points=[point.id])
                )
                for point in batch
            ]
            with self._translated(f"write the payload of {len(operations)} points"):
                self._client.batch_update_points(self._collection, operations, wait=True)

    def retrieve(self, ids: Sequence[str], keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the named payload keys of those ids that are stored."""
        with self._translated(f"read {len(ids)} points"):
            records = self._client.retrieve(self._collection, list(ids), with_payload=list(keys))
        return {str(record.id): dict(record.payload or {}) for record in records}

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points; ids that are not stored are passed over."""
        if not ids:
            return
        with self._translated(f"delete {len(ids)} points"):
            self._client.delete(self._collection, models.PointIdsList(points=list(ids)), wait=True)

    def count(self, where: Where | None = None) -> int:
        """Count points exactly, all or those that fit the filter."""
        with self._translated("count"):
            return self._client.count(
                self._collection, count_filter=_filter(where), exact=True
            ).count

    def search(
        self, queries: Sequence[VectorQuery], *, limit: int, where: Where | None = None
    ) -> list[FoundPoint]:
        """Return the nearest points: by cosine for one query, by weighted sum for several.

        The sum is a formula over one prefetch a view, whose inner prefetches hold the candidates
        of all views: every candidate is scored exactly under every view.
        """
        names = [query.vector_name for query in queries]
        conditions = _filter(where)
        with self._translated("search"):
            if len(queries) == 1:
                response = self._client.query_points(
                    self._collection,
                    query=queries[0].vector.tolist(),
                    using=names[0],
                    query_filter=conditions,
                    limit=limit,
                    with_vectors=names,
                )
            else:
                count = candidate_count(limit)
                inner = [
                    models.Prefetch(
                        query=query.vector.tolist(),
                        using=query.vector_name,
                        filter=conditions,
                        limit=count,
                    )
                    for query in queries
                ]
                outer = [
                    models.Prefetch(
                        prefetch=inner,
                        query=query.vector.tolist(),
                        using=query.vector_name,
                        limit=count * len(queries),
                    )
                    for query in queries
                ]
                terms: list[models.Expression] = [
                    models.MultExpression(mult=[query.weight, f"$score[{number}]"])
                    for number, query in enumerate(queries)
                ]
                response = self._client.query_points(
                    self._collection,
                    prefetch=outer,
                    query=models.FormulaQuery(
                        formula=models.SumExpression(sum=terms),
                        defaults={f"$score[{number}]": 0.0 for number in range(len(queries))},
                    ),
                    limit=limit,
                    with_vectors=names,
                )
        return [
            FoundPoint(
                payload=dict(point.payload or {}),
                vectors={
                    name: np.asarray(vector, dtype=np.float32)
                    for name, vector in cast("dict[str, Any]", point.vector or {}).items()
                },
                score=point.score,
            )
            for point in response.points
        ]

    def indexed_fields(self) -> set[str]:
        """Return the payload paths that have an index; local mode has none."""
        with self._translated("read the payload indexes"):
            return set(self._client.get_collection(self._collection).payload_schema)

    def index_fields(self, fields: Mapping[str, FieldKind]) -> None:
        """Create payload indexes where there are none yet; local mode filters without."""
        if not self._server:
            return
        have = self.indexed_fields()
        for path, kind in fields.items():
            if path not in have:
                with self._translated(f"index the field {path}"):
                    self._client.create_payload_index(
                        self._collection, path, INDEX_KINDS[kind], wait=True
                    )

    def flush(self) -> None:
        """Do nothing: every write was waited for."""

    def close(self) -> None:
        """Let go of the location. Further calls raise."""
        self._client.close()

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except ResponseHandlingException as error:
            raise EngineError(
                f"could not {action}: no Qdrant server answers at {self._where} ({error}); "
                "start it, or check the address"
            ) from error
        except UnexpectedResponse as error:
            hint = (
                "; set QDRANT_API_KEY to a key the server accepts"
                if error.status_code in (401, 403)
                else ""
            )
            raise EngineError(f"could not {action}; Qdrant says: {error}{hint}") from error
        except (ApiException, RuntimeError, ValueError, KeyError, AssertionError) as error:
            # Local mode raises built-in exceptions where a server answers with a status; the
            # client itself does where an answer is not one of Qdrant's.
            where = f" at {self._where}" if self._server else ""
            raise EngineError(f"could not {action}{where}; Qdrant says: {error}") from error


@contextmanager
def _local_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise CollectionLocked(
            f"could not open {folder}: it is held by another process, or by another object in "
            "this one; close that first (a folder has one user at a time, a server many)"
        ) from error
    except OSError as error:
        raise EngineError(f"could not open {folder}: {error}") from error


def _lacking(names: Sequence[str]) -> models.Filter:
    """Fit the points that do not have all of these vectors."""
    has: list[models.Condition] = [models.HasVectorCondition(has_vector=name) for name in names]
    return models.Filter(must_not=[models.Filter(must=has)])


def _filter(where: Where | None) -> models.Filter | None:
    if where is None:
        return None
    return cast("models.Filter", compile_where(where, DIALECT))
