"""Engines for tests: their coroutines, run to the end."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inbedder_retrieval import Connection, Storage
from inbedder_retrieval.collection import location as locations
from inbedder_retrieval.collection.engine import Engine, FoundPoint, SearchRequest, VectorQuery
from inbedder_retrieval.collection.filters import Where
from inbedder_retrieval.collection.flow import run

__all__ = ["RunEngine", "create_engine", "open_engine"]


class RunEngine:
    """An engine of which every method returns what its coroutine returns."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.engine, name)

        def call(*given: Any, **named: Any) -> Any:
            answer = method(*given, **named)
            return run(answer) if inspect.iscoroutine(answer) else answer

        return call

    def search(
        self, queries: Sequence[VectorQuery], *, limit: int, where: Where | None = None
    ) -> list[FoundPoint]:
        """Search with as many candidates as a collection takes, and return all vectors searched."""
        request = SearchRequest(
            queries=tuple(queries),
            limit=limit,
            candidates=max(200, 10 * limit),
            vectors=tuple(query.vector_name for query in queries),
            where=where,
        )
        return run(self.engine.search(request))


def create_engine(
    location: str | Path,
    vectors: Mapping[str, int],
    registry: Mapping[str, Any],
    *,
    storage: Storage | None = None,
    connection: Connection | None = None,
) -> RunEngine:
    return RunEngine(
        locations.create_engine(location, vectors, registry, storage=storage, connection=connection)
    )


def open_engine(location: str | Path, *, connection: Connection | None = None) -> RunEngine:
    return RunEngine(locations.open_engine(location, connection=connection))
