"""Engines: what stores and finds points.

An engine speaks of points and named vectors. It knows nothing of documents, views or models. Its
methods are coroutines; those of an engine in this process wait for nothing (see `flow.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.collection.conditions import misleading
from inbedder_retrieval.collection.filters import FieldKind, Where

__all__ = ["Engine", "FoundPoint", "Point", "SearchRequest", "VectorQuery", "make_way"]


@dataclass(frozen=True)
class Point:
    """A stored point.

    Attributes:
        id: a UUID.
        payload: the JSON beside it.
        vectors: unit vectors (H,) by vector name.
        shard: the shard key, where each tenant has shards of its own.
    """

    id: str
    payload: dict[str, Any]
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    shard: str | None = None


@dataclass(frozen=True)
class FoundPoint:
    """A point that a search found, with the vectors asked for and its score."""

    id: str
    payload: dict[str, Any]
    vectors: dict[str, NDArray[np.float32]]
    score: float


@dataclass(frozen=True)
class VectorQuery:
    """A unit vector (H,) to compare with one named vector, and what its cosine weighs."""

    vector_name: str
    vector: NDArray[np.float32]
    weight: float = 1.0


@dataclass(frozen=True)
class SearchRequest:
    """What to look for: by cosine for one query, by weighted sum for several.

    The sum is exact for the candidates: the nearest points of each query. A point that lacks a
    vector counts zero there.

    Attributes:
        limit: how many points at most.
        candidates: how many nearest points of each query a sum looks at.
        vectors: the named vectors to return with each point.
        exact: compare with every point instead of walking the graph.
        shard: the shard key to search; None searches all.
    """

    queries: tuple[VectorQuery, ...]
    limit: int
    candidates: int
    vectors: tuple[str, ...] = ()
    where: Where | None = None
    exact: bool = False
    shard: str | None = None


class Engine(Protocol):
    """What a collection needs of storage. Every method may raise EngineError."""

    def awaiting(self) -> Engine | None:
        """Return another engine over the same points for an event loop, where there is one."""
        ...

    async def kind(self) -> str:
        """Say what is running: `edge`, `local` or `server`, with its version."""
        ...

    async def read_registry(self) -> dict[str, Any]:
        """Return the registry's flat entries."""
        ...

    async def write_registry(self, changes: Mapping[str, Any]) -> None:
        """Set these entries and leave all others; None removes one. All at once or none."""
        ...

    async def vectors(self) -> dict[str, int]:
        """Return the width of every named vector."""
        ...

    async def add_vectors(self, widths: Mapping[str, int]) -> None:
        """Make named vectors that no point has yet; one that is there stays as it is."""
        ...

    async def drop_vectors(self, names: Sequence[str]) -> None:
        """Delete named vectors from all points; one that is not there is passed over."""
        ...

    async def count(self, where: Where | None = None, *, lacking: Sequence[str] = ()) -> int:
        """Count points exactly: those that fit the filter and lack any of these vectors."""
        ...

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
        """Return points as `count` counts them, in the order of their ids.

        Args:
            keys: the payload keys to return.
            after: where to go on from, as the call before returned it.
            vectors: the named vectors to return.

        Returns:
            The points, and what to give as `after` next; None where there are no more.
        """
        ...

    async def retrieve(
        self, ids: Sequence[str], keys: Sequence[str], *, vectors: Sequence[str] = ()
    ) -> dict[str, Point]:
        """Return those of the ids that are stored, with these payload keys and vectors."""
        ...

    async def upsert(self, points: Sequence[Point]) -> None:
        """Write whole points; what was stored under their ids is replaced."""
        ...

    async def overwrite_payload(self, points: Sequence[Point]) -> None:
        """Replace the payload of stored points and leave their vectors."""
        ...

    async def fill_vectors(self, points: Sequence[Point], names: Sequence[str]) -> None:
        """Write vectors to stored points that still lack any of `names`; leave all else."""
        ...

    async def clear_vectors(self, points: Sequence[Point], names: Sequence[str]) -> None:
        """Delete these vectors from these points."""
        ...

    async def delete(self, points: Sequence[Point]) -> None:
        """Delete points; those that are not stored are passed over."""
        ...

    async def search(self, request: SearchRequest) -> list[FoundPoint]:
        """Return the points that fit best, best first."""
        ...

    async def indexed_fields(self) -> dict[str, str]:
        """Return the kind of index of every payload path that has one."""
        ...

    async def index_fields(self, fields: Mapping[str, FieldKind]) -> None:
        """Create payload indexes where there are none yet."""
        ...

    async def drop_index(self, path: str) -> None:
        """Delete a payload index; one that is not there is passed over."""
        ...

    async def optimize(self, progress: Callable[[float], None] | None = None) -> None:
        """Build the search graphs, or wait until they are built by the engine itself.

        Args:
            progress: called every now and then with the seconds it has taken so far.
        """
        ...

    async def set_alias(self, name: str) -> None:
        """Let another name stand for the collection; only a server can."""
        ...

    async def snapshot(self) -> str:
        """Write a snapshot and return its name; only a server can."""
        ...

    async def flush(self) -> None:
        """Return once everything written is on disk."""
        ...

    async def close(self) -> None:
        """Let go of the location. Further calls raise."""
        ...


async def make_way(engine: Engine, where: Where | None) -> None:
    """Drop the indexes that would answer a filter wrongly; without one it is answered right."""
    wrong = set() if where is None else misleading(where)
    have = await engine.indexed_fields() if wrong else {}
    for path, kind in wrong:
        if have.get(path) == kind:
            await engine.drop_index(path)
