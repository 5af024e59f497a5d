"""The folder engine: Qdrant Edge, the server's own engine in this process.

    support.inb/registry.json    the registry, replaced atomically
    support.inb/shard/           the Edge shard, with its write-ahead log

The shard's log is locked while it is open, so a folder has one user at a time. Edge raises bare
Exceptions; they leave here as EngineError.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import numpy as np
import qdrant_edge as edge

from inbedder_retrieval.collection.engine import (
    EDGE_MARK,
    FoundPoint,
    Point,
    VectorQuery,
    candidate_count,
)
from inbedder_retrieval.collection.filters import Dialect, FieldKind, Where, compile_where
from inbedder_retrieval.errors import (
    CollectionError,
    CollectionExists,
    CollectionLocked,
    EngineError,
)

__all__ = ["EdgeEngine"]

SHARD, BEFORE = "shard", "shard.before"
# Edge takes a plain True for the integer 1; NumPy's it knows.
DIALECT = Dialect(edge, edge.RangeFloat, boolean=np.bool_)
INDEX_KINDS = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
}


class EdgeEngine:
    """A Qdrant Edge shard and its registry, in one folder."""

    def __init__(self, folder: Path, shard: edge.EdgeShard) -> None:
        self._folder = folder
        self._shard = shard
        # Held by who writes, so that a copy of the files is of one moment.
        self._writing = threading.RLock()

    @classmethod
    def create(
        cls, folder: Path, vectors: Mapping[str, int], registry: Mapping[str, Any]
    ) -> EdgeEngine:
        """Make the collection beside its place and rename it there, so that it appears whole."""
        config = edge.EdgeConfig(
            vectors={
                name: edge.EdgeVectorParams(size=width, distance=edge.Distance.Cosine)
                for name, width in vectors.items()
            }
        )
        place = Path(os.path.realpath(folder))
        existed = place.is_dir()
        scratch = (place if existed else place.parent) / f".inbedder-{uuid4().hex[:12]}"
        try:
            (scratch / SHARD).mkdir(parents=True)
            with _translated(f"create a collection at {folder}"):
                edge.EdgeShard.create(str(scratch / SHARD), config).close()
            _write_json(scratch / EDGE_MARK, registry)
            if existed:
                # The folder stays: it may be a mount, or where somebody is working. The registry
                # comes last, since it is what makes the folder a collection.
                (scratch / SHARD).rename(place / SHARD)
                (scratch / EDGE_MARK).rename(place / EDGE_MARK)
                scratch.rmdir()
            else:
                scratch.rename(place)
        except OSError as error:
            shutil.rmtree(scratch, ignore_errors=True)
            if (place / SHARD).exists():
                raise CollectionExists(
                    f"{folder} was created by somebody else just now; open it"
                ) from error
            raise EngineError(f"no collection can be created at {folder}: {error}") from error
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> EdgeEngine:
        """Open the folder, or raise CollectionLocked while somebody else holds it."""
        _restore(folder)
        with _translated(f"open the collection at {folder}"):
            return cls(folder, edge.EdgeShard.load(str(folder / SHARD)))

    @property
    def kind(self) -> str:
        """What is running, with its version."""
        return f"edge (Qdrant Edge {version('qdrant-edge-py')})"

    def read_registry(self) -> dict[str, Any]:
        """Return the registry's flat entries."""
        path = self._folder / EDGE_MARK
        try:
            return cast("dict[str, Any]", json.loads(path.read_bytes()))
        except (OSError, ValueError) as error:
            raise CollectionError(f"the registry {path} cannot be read: {error}") from error

    def write_registry(self, entries: Mapping[str, Any]) -> None:
        """Replace the registry atomically."""
        try:
            _write_json(self._folder / EDGE_MARK, entries)
        except OSError as error:
            raise EngineError(
                f"the registry of {self._folder} cannot be written: {error}"
            ) from error

    def add_vectors(self, widths: Mapping[str, int]) -> None:
        """Make named vectors that no point has yet; one that is there stays as it is."""
        if not widths:
            return
        with self._restorable(), _translated(f"make the vectors {', '.join(widths)}"):
            for name, width in widths.items():
                self._shard.update(
                    edge.UpdateOperation.create_dense_vector(name, width, edge.Distance.Cosine)
                )
            self._shard.flush()

    def drop_vector(self, name: str) -> None:
        """Delete a named vector from all points; one that is not there is passed over."""
        with self._restorable(), _translated(f"drop the vector {name}"):
            self._shard.update(edge.UpdateOperation.delete_vector_name(name))
            self._shard.flush()

    @contextmanager
    def _restorable(self) -> Iterator[None]:
        """Keep a copy of the shard while its named vectors change.

        Edge changes its configuration and its segments one after the other: a process that dies in
        between leaves a shard that cannot be opened, or that lacks a vector. `open` goes back to
        the copy then.
        """
        with self._writing:
            copy, before = self._folder / f"{BEFORE}.part", self._folder / BEFORE
            try:
                with _translated("flush"):
                    self._shard.flush()
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(self._folder / SHARD, copy)
                copy.rename(before)
            except OSError as error:
                shutil.rmtree(copy, ignore_errors=True)
                raise EngineError(
                    f"{self._folder} has no room for a copy of its shard, which is kept while its "
                    f"named vectors change: {error}"
                ) from error
            try:
                yield
            finally:
                # Also after a refusal: what is written from here on must not be gone back on. Gone
                # at once by its name, then from the disk.
                before.rename(copy)
                shutil.rmtree(copy, ignore_errors=True)

    def count_lacking(self, names: Sequence[str]) -> int:
        """Count the points that lack any of these vectors, exactly."""
        with _translated("count"):
            return self._shard.count(edge.CountRequest(filter=_lacking(names), exact=True))

    def lacking(
        self, names: Sequence[str], keys: Sequence[str], *, limit: int, after: str | None
    ) -> tuple[list[Point], str | None]:
        """Return points that lack any of these vectors, and where to go on."""
        request = edge.ScrollRequest(
            limit=limit, filter=_lacking(names), with_payload=list(keys), offset=after
        )
        with _translated("list the points without a vector"):
            records, following = self._shard.scroll(request)
        points = [Point(str(record.id), dict(record.payload or {})) for record in records]
        return points, None if following is None else str(following)

    def fill_vectors(self, points: Sequence[Point], names: Sequence[str]) -> None:
        """Write vectors to stored points that still lack any of `names`; leave all else."""
        vectors = [edge.PointVectors(point.id, cast("Any", point.vectors)) for point in points]
        with self._writing, _translated(f"write vectors of {len(points)} points"):
            self._shard.update(edge.UpdateOperation.update_vectors(vectors, _lacking(names)))

    def clear_vectors(self, ids: Sequence[str], names: Sequence[str]) -> None:
        """Delete these vectors from these points."""
        with self._writing, _translated(f"delete vectors of {len(ids)} points"):
            self._shard.update(edge.UpdateOperation.delete_vectors(list(ids), list(names)))

    def upsert(self, points: Sequence[Point]) -> None:
        """Write whole points; what was stored under their ids is replaced."""
        if not points:
            return
        batch = [
            # Edge copies float32 arrays as they are; its type hints only know lists.
            edge.Point(point.id, cast("Any", point.vectors), point.payload)
            for point in points
        ]
        with self._writing, _translated(f"write {len(points)} points"):
            self._shard.update(edge.UpdateOperation.upsert_points(batch))

    def overwrite_payload(self, points: Sequence[Point]) -> None:
        """Replace the payload of stored points and leave their vectors."""
        for point in points:
            with self._writing, _translated(f"write the payload of {point.id}"):
                self._shard.update(
                    edge.UpdateOperation.overwrite_payload([point.id], point.payload)
                )

    def retrieve(self, ids: Sequence[str], keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the named payload keys of those ids that are stored."""
        with _translated(f"read {len(ids)} points"):
            records = self._shard.retrieve(list(ids), list(keys), False)
        return {str(record.id): dict(record.payload or {}) for record in records}

    def delete(self, ids: Sequence[str]) -> None:
        """Delete points; ids that are not stored are passed over."""
        if not ids:
            return
        with self._writing, _translated(f"delete {len(ids)} points"):
            self._shard.update(edge.UpdateOperation.delete_points(list(ids)))

    def count(self, where: Where | None = None) -> int:
        """Count points exactly, all or those that fit the filter."""
        with _translated("count"):
            return self._shard.count(edge.CountRequest(filter=_filter(where), exact=True))

    def search(
        self, queries: Sequence[VectorQuery], *, limit: int, where: Where | None = None
    ) -> list[FoundPoint]:
        """Return the nearest points: by cosine for one query, by weighted sum for several.

        The sum is a formula over one prefetch a view, whose inner prefetches hold the candidates
        of all views: every candidate is scored exactly under every view.
        """
        names = [query.vector_name for query in queries]
        nearest = [
            edge.Query.Nearest(cast("Any", query.vector), using=query.vector_name)
            for query in queries
        ]
        conditions = _filter(where)
        if len(queries) == 1:
            request = edge.QueryRequest(
                query=nearest[0],
                filter=conditions,
                limit=limit,
                with_vector=names,
                with_payload=True,
            )
        else:
            count = candidate_count(limit)
            inner = [edge.Prefetch(query=one, filter=conditions, limit=count) for one in nearest]
            outer = [
                edge.Prefetch(prefetches=inner, query=one, limit=count * len(nearest))
                for one in nearest
            ]
            terms = [
                edge.Expression.Mult(
                    [edge.Expression.Constant(query.weight), edge.Expression.Variable(variable)]
                )
                for query, variable in zip(queries, _variables(len(queries)), strict=True)
            ]
            request = edge.QueryRequest(
                prefetches=outer,
                query=edge.Formula(
                    edge.Expression.Sum(terms),
                    defaults=dict.fromkeys(_variables(len(queries)), 0.0),
                ),
                limit=limit,
                with_vector=names,
                with_payload=True,
            )
        with _translated("search"):
            found = self._shard.query(request)
        return [
            FoundPoint(
                payload=dict(point.payload or {}),
                vectors={
                    name: np.asarray(vector, dtype=np.float32)
                    for name, vector in cast("dict[str, Any]", point.vector or {}).items()
                },
                score=point.score,
            )
            for point in found
        ]

    def indexed_fields(self) -> set[str]:
        """Return the payload paths that have an index."""
        with _translated("read the payload indexes"):
            return set(self._shard.info().payload_schema)

    def index_fields(self, fields: Mapping[str, FieldKind]) -> None:
        """Create payload indexes where there are none yet."""
        have = self.indexed_fields()
        for path, kind in fields.items():
            if path not in have:
                with _translated(f"index the field {path}"):
                    self._shard.update(
                        edge.UpdateOperation.create_field_index(path, INDEX_KINDS[kind])
                    )

    def flush(self) -> None:
        """Return once everything written is on disk."""
        with _translated("flush"):
            self._shard.flush()

    def close(self) -> None:
        """Let go of the folder. Further calls raise."""
        with _translated("close the collection"):
            self._shard.close()


@contextmanager
def _translated(action: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Edge has no exception types of its own: the words are all there is.
        if "WAL" in str(error) and "WouldBlock" in str(error):
            raise CollectionLocked(
                f"could not {action}: it is held by another process, or by another object in "
                "this one; close that first (a folder has one user at a time, a server many)"
            ) from error
        raise EngineError(f"could not {action}; Qdrant Edge says: {error}") from error


def _restore(folder: Path) -> None:
    """Go back to the copy that is there where a change of the named vectors was cut short."""
    before = folder / BEFORE
    if not before.is_dir():
        return
    with _translated(f"open the collection at {folder}"):
        # Loading takes the lock of the shard's log: whoever holds it is still at work.
        edge.EdgeShard.load(str(before)).close()
    try:
        if (folder / SHARD).exists():
            shutil.rmtree(folder / SHARD)
        before.rename(folder / SHARD)
    except OSError as error:
        raise EngineError(f"{folder} cannot be put back as it was: {error}") from error


def _filter(where: Where | None) -> edge.Filter | None:
    if where is None:
        return None
    return cast("edge.Filter", compile_where(where, DIALECT))


def _lacking(names: Sequence[str]) -> edge.Filter:
    """Fit the points that do not have all of these vectors."""
    return edge.Filter(must_not=[edge.Filter(must=[edge.HasVectorCondition(n) for n in names])])


def _variables(count: int) -> list[str]:
    return [f"$score[{number}]" for number in range(count)]


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a file so that a reader sees the old one or the new one, also after a crash."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
