"""The folder engine: Qdrant Edge, the server's own engine in this process.

The folder is locked while it is open, so it has one user at a time. Edge raises bare
Exceptions; they leave here as EngineError. What lies in the folder is known to `folder.py`.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import qdrant_edge as edge
from filelock import FileLock

from inbedder_retrieval.collection.edge_terms import (
    INDEX_KINDS,
    buffers_of,
    config_of,
    filter_of,
    found_of,
    nearest_queries,
    point_of,
    search_query,
)
from inbedder_retrieval.collection.engine import FoundPoint, Point, SearchRequest, make_way
from inbedder_retrieval.collection.filters import FieldKind, Where
from inbedder_retrieval.collection.folder import (
    SHARD,
    check_room,
    held,
    holds_shard,
    lies_on_disk,
    lock,
    make_folder,
    read_registry,
    read_vectors,
    restorable,
    restore,
    write_registry,
)
from inbedder_retrieval.collection.storage import Storage
from inbedder_retrieval.errors import EngineError

__all__ = ["EdgeEngine"]

# Edge optimizes in the calling thread and lets no other run meanwhile, so it does in a process.
OPTIMIZE = """
import sys, qdrant_edge
shard = qdrant_edge.EdgeShard.load(sys.argv[1])
shard.optimize()
shard.close()
"""
PROGRESS_SECONDS = 0.5
# Edge locks its write-ahead log.
LOG = "wal"
# What is written goes into the log, into a segment, and may be moved to another.
WRITTEN_TIMES = 3
# A deletion is a line in the log: there must be a way to make room.
DELETE_BYTES = 1 << 20


class EdgeEngine:
    """A Qdrant Edge shard and its registry, in one folder."""

    def __init__(self, folder: Path, shard: edge.EdgeShard, own: FileLock) -> None:
        self._folder = folder
        self._shard = shard
        self._own = own
        # Held by who writes, so that a copy of the files is of one moment.
        self._writing = threading.RLock()
        # How many calls use the shard; it is closed for a moment only while there are none.
        self._users = 0
        self._idle = threading.Condition()

    @classmethod
    def create(
        cls,
        folder: Path,
        vectors: Mapping[str, int],
        registry: Mapping[str, Any],
        storage: Storage,
    ) -> EdgeEngine:
        """Make the collection; it appears whole, or not at all."""

        def make_shard(place: Path) -> None:
            with _translated(f"create a collection at {folder}"):
                edge.EdgeShard.create(str(place), config_of(vectors, storage)).close()

        make_folder(folder, registry, make_shard)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> EdgeEngine:
        """Open the folder, or raise CollectionLocked while somebody else holds it."""
        if not holds_shard(folder):
            # Nothing is left behind in what is no collection: Edge says what is amiss.
            _load(folder / SHARD)
        own = lock(folder)
        try:
            restore(folder)
            return cls(folder, _load(folder / SHARD), own)
        except BaseException:
            own.release()
            raise

    def awaiting(self) -> None:
        """Return nothing: a shard is used in the calling thread."""

    async def kind(self) -> str:
        """Say what is running, with its version."""
        return f"edge (Qdrant Edge {version('qdrant-edge-py')})"

    async def read_registry(self) -> dict[str, Any]:
        """Return the registry's flat entries."""
        self._check_open()
        return read_registry(self._folder)

    async def write_registry(self, changes: Mapping[str, Any]) -> None:
        """Change these entries, atomically."""
        self._check_open()
        with self._writing:
            merged = {**read_registry(self._folder), **changes}
            kept = {key: value for key, value in merged.items() if value is not None}
            write_registry(self._folder, kept)

    async def vectors(self) -> dict[str, int]:
        """Return the width of every named vector."""
        return read_vectors(self._folder)

    async def add_vectors(self, widths: Mapping[str, int]) -> None:
        """Make named vectors that no point has yet; one that is there stays as it is."""
        if not widths:
            return
        with self._restorable():
            with self._use(f"make the vectors {', '.join(widths)}") as shard:
                for name, width in widths.items():
                    shard.update(
                        edge.UpdateOperation.create_dense_vector(name, width, edge.Distance.Cosine)
                    )
                shard.flush()
            if lies_on_disk(self._folder):
                # A vector that is made later does not say where it lies; what is opened does. Those
                # stored by now follow when the shard is optimized.
                everywhere = config_of(read_vectors(self._folder), Storage(on_disk=True))
                with self._closed(everywhere):
                    pass

    async def drop_vectors(self, names: Sequence[str]) -> None:
        """Delete named vectors from all points; one that is not there is passed over."""
        if not names:
            return
        with self._restorable(), self._use(f"drop the vectors {', '.join(names)}") as shard:
            for name in names:
                shard.update(edge.UpdateOperation.delete_vector_name(name))
            shard.flush()

    async def count(self, where: Where | None = None, *, lacking: Sequence[str] = ()) -> int:
        """Count points exactly: those that fit the filter and lack any of these vectors."""
        await make_way(self, where)
        with self._use("count") as shard:
            return shard.count(edge.CountRequest(filter=filter_of(where, lacking), exact=True))

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
        request = edge.ScrollRequest(
            limit=limit,
            filter=filter_of(where, lacking),
            with_payload=list(keys),
            with_vector=list(vectors),
            offset=after,
        )
        with self._use("list points") as shard:
            records, following = shard.scroll(request)
        return [point_of(record) for record in records], None if following is None else str(
            following
        )

    async def retrieve(
        self, ids: Sequence[str], keys: Sequence[str], *, vectors: Sequence[str] = ()
    ) -> dict[str, Point]:
        """Return those of the ids that are stored, with these payload keys and vectors."""
        with self._use(f"read {len(ids)} points") as shard:
            records = shard.retrieve(list(ids), list(keys), list(vectors))
        return {str(record.id): point_of(record) for record in records}

    async def upsert(self, points: Sequence[Point]) -> None:
        """Write whole points; what was stored under their ids is replaced."""
        if not points:
            return
        check_room(self._folder, _written(points))
        batch = [edge.Point(point.id, buffers_of(point), point.payload) for point in points]
        with self._writing, self._use(f"write {len(points)} points") as shard:
            shard.update(edge.UpdateOperation.upsert_points(batch))

    async def overwrite_payload(self, points: Sequence[Point]) -> None:
        """Replace the payload of stored points and leave their vectors."""
        check_room(self._folder, _written(points))
        for point in points:
            with self._writing, self._use(f"write the payload of {point.id}") as shard:
                shard.update(edge.UpdateOperation.overwrite_payload([point.id], point.payload))

    async def fill_vectors(self, points: Sequence[Point], names: Sequence[str]) -> None:
        """Write vectors to stored points that still lack any of `names`; leave all else."""
        check_room(self._folder, _written(points))
        vectors = [edge.PointVectors(point.id, buffers_of(point)) for point in points]
        with self._writing, self._use(f"write vectors of {len(points)} points") as shard:
            shard.update(edge.UpdateOperation.update_vectors(vectors, filter_of(None, names)))

    async def clear_vectors(self, points: Sequence[Point], names: Sequence[str]) -> None:
        """Delete these vectors from these points."""
        ids = [point.id for point in points]
        check_room(self._folder, 0, spare=DELETE_BYTES)
        with self._writing, self._use(f"delete vectors of {len(ids)} points") as shard:
            shard.update(edge.UpdateOperation.delete_vectors(cast("Any", ids), list(names)))

    async def delete(self, points: Sequence[Point]) -> None:
        """Delete points; those that are not stored are passed over."""
        if not points:
            return
        check_room(self._folder, 0, spare=DELETE_BYTES)
        with self._writing, self._use(f"delete {len(points)} points") as shard:
            shard.update(edge.UpdateOperation.delete_points([point.id for point in points]))

    async def search(self, request: SearchRequest) -> list[FoundPoint]:
        """Return the points that fit best, best first."""
        await make_way(self, request.where)
        with self._use("search") as shard:
            # As Edge gives ids and takes them: text would be made of each, and read again.
            candidates: set[Any] = set()
            if len(request.queries) > 1:
                for nearest in shard.query_batch(nearest_queries(request)):
                    candidates.update(point.id for point in nearest)
                if not candidates:
                    return []
            found = shard.query(search_query(request, candidates))
        return [found_of(point) for point in found]

    async def indexed_fields(self) -> dict[str, str]:
        """Return the kind of index of every payload path that has one."""
        with self._use("read the payload indexes") as shard:
            found = shard.info().payload_schema.items()
        return {path: str(index.data_type).rpartition(".")[2].lower() for path, index in found}

    async def index_fields(self, fields: Mapping[str, FieldKind]) -> None:
        """Create payload indexes where there are none yet."""
        have = await self.indexed_fields()
        for path, kind in fields.items():
            if path not in have:
                with self._writing, self._use(f"index the field {path}") as shard:
                    shard.update(edge.UpdateOperation.create_field_index(path, INDEX_KINDS[kind]))

    async def drop_index(self, path: str) -> None:
        """Delete a payload index; one that is not there is passed over."""
        with self._writing, self._use(f"drop the index of {path}") as shard:
            shard.update(edge.UpdateOperation.delete_field_index(path))

    async def optimize(self, progress: Callable[[float], None] | None = None) -> None:
        """Build the search graphs, in a process of its own. Other calls wait meanwhile."""
        with self._closed():
            _optimize(self._folder / SHARD, progress)
        if not lies_on_disk(self._folder):
            self._page_in()

    def _page_in(self) -> None:
        """Have every vector read once: what was opened is mapped into memory page by page."""
        for name, width in read_vectors(self._folder).items():
            query = edge.Query.Nearest(cast("Any", [1.0, *[0.0] * (width - 1)]), using=name)
            every = edge.SearchParams(exact=True)
            with self._use(f"read the vectors of {name}") as shard:
                shard.query(edge.QueryRequest(query=query, limit=1, params=every))

    async def set_alias(self, name: str) -> None:
        """Raise EngineError: a folder has one name."""
        raise EngineError(
            f"{self._folder} can have no alias {name!r}: only a Qdrant server has any"
        )

    async def snapshot(self) -> str:
        """Raise EngineError: a folder is kept by copying it."""
        raise EngineError(f"{self._folder} is no server that writes snapshots; copy it instead")

    async def flush(self) -> None:
        """Return once everything written is on disk."""
        with self._use("flush") as shard:
            shard.flush()

    async def close(self) -> None:
        """Let go of the folder. Further calls raise, but for this one."""
        if self._own.is_locked:
            with self._use("close the collection") as shard:
                shard.close()
            self._own.release()

    def _check_open(self) -> None:
        if not self._own.is_locked:
            raise EngineError(f"the collection at {self._folder} is closed; open it again")

    @contextmanager
    def _use(self, action: str) -> Iterator[edge.EdgeShard]:
        self._check_open()
        with self._idle:
            self._users += 1
        try:
            with _translated(action):
                yield self._shard
        finally:
            with self._idle:
                self._users -= 1
                self._idle.notify_all()

    @contextmanager
    def _closed(self, config: edge.EdgeConfig | None = None) -> Iterator[None]:
        """Have the shard closed, as soon as no call uses it, and open it again."""
        self._check_open()
        with self._writing, self._idle:
            self._idle.wait_for(lambda: self._users == 0)
            with _translated("close the collection"):
                self._shard.close()
            try:
                yield
            finally:
                self._shard = _load(self._folder / SHARD, config)

    @contextmanager
    def _restorable(self) -> Iterator[None]:
        with self._writing:
            with self._use("flush") as shard:
                shard.flush()
            with restorable(self._folder):
                yield


def _written(points: Sequence[Point]) -> int:
    """Return about how many bytes Edge writes for some points."""
    vectors = sum(vector.nbytes for point in points for vector in point.vectors.values())
    payloads = [repr(point.payload) for point in points]
    # A character is four bytes at most.
    return WRITTEN_TIMES * (
        vectors + sum(len(one) if one.isascii() else 4 * len(one) for one in payloads)
    )


@contextmanager
def _translated(action: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        # A panic of Rust's is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        # Edge has no exception types of its own: the words are all there is.
        if "WAL" in str(error) and "WouldBlock" in str(error):
            raise held(action, f"{SHARD}/{LOG}") from error
        raise EngineError(f"could not {action}; Qdrant Edge says: {error}") from error


def _load(place: Path, config: edge.EdgeConfig | None = None) -> edge.EdgeShard:
    with _translated(f"open the collection at {place.parent}"):
        return edge.EdgeShard.load(str(place), config)


def _optimize(place: Path, progress: Callable[[float], None] | None) -> None:
    start = time.monotonic()
    command = [sys.executable, "-c", OPTIMIZE, str(place)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            while True:
                try:
                    _, said = process.communicate(timeout=PROGRESS_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if progress is not None:
                        progress(time.monotonic() - start)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        # Of a traceback, its last line; where the system has ended the process, there is none.
        lines = said.strip().splitlines() or [f"nothing (exit code {process.returncode})"]
        raise EngineError(f"could not optimize {place.parent}; Qdrant Edge says: {lines[-1]}")
