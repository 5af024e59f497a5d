"""A store: an engine, the registry of what it holds, and what embeds.

Everything a collection does works on a store. The registry may be changed by others at any time,
so what writes reads it anew, and writes back only the entries it has changed. In one process one
change waits for the other; two processes on a server can only undo each other in the same view.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.collection.engine import Engine, Point
from inbedder_retrieval.collection.registry import Registry, ViewRecord
from inbedder_retrieval.collection.schema import ID
from inbedder_retrieval.documents import AnswerWord
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.embeddings import Embeddings, TextEmbedder, check_finite
from inbedder_retrieval.errors import EngineError, ServerUnavailable
from inbedder_retrieval.views import View, Views

__all__ = ["Known", "Store"]

Write: TypeAlias = Callable[[Sequence[Point]], Coroutine[Any, Any, None]]
# How often a task looks whether the change before its own is done.
POLL_SECONDS = 0.005


@dataclass
class Known:
    """What is known of a collection by all who use it in this process.

    Attributes:
        registry: as it was read last.
        embedders: those that were given or loaded, by fingerprint.
        indexed: the fields for which a payload index was asked.
        changing: held by who changes the registry.
    """

    registry: Registry
    embedders: dict[str, TextEmbedder] = field(default_factory=dict)
    indexed: set[str] = field(default_factory=set)
    changing: threading.Lock = field(default_factory=threading.Lock)
    _moments: count[int] = field(default_factory=count)
    _moment: int = -1
    _learning: threading.Lock = field(default_factory=threading.Lock)

    def moment(self) -> int:
        """Return when this is: before what is asked for later."""
        return next(self._moments)

    def learn(self, registry: Registry, moment: int) -> None:
        """Keep a registry as it was at a moment, unless a later one is known."""
        with self._learning:
            if moment > self._moment:
                self.registry, self._moment = registry, moment


@dataclass(frozen=True)
class Store:
    """An engine with what is known of it.

    Attributes:
        threaded: run models in a worker thread, so that an event loop goes on meanwhile.
    """

    location: str
    engine: Engine
    known: Known
    threaded: bool = False

    @property
    def registry(self) -> Registry:
        """The registry as it was read last."""
        return self.known.registry

    async def refresh(self) -> Registry:
        """Read the registry anew."""
        moment = self.known.moment()
        registry = Registry.from_entries(await self.engine.read_registry(), self.location)
        self.known.learn(registry, moment)
        return registry

    async def change(self, revise: Callable[[Registry], Registry]) -> Registry:
        """Read the registry anew and write what `revise` changes in it.

        Vectors that it lists and did not list before are made first: what is listed is there.
        """
        # Held while a task awaits its server, so another task must not block the event loop.
        while not self.known.changing.acquire(blocking=not self.threaded):
            await asyncio.sleep(POLL_SECONDS)
        try:
            before = await self.refresh()
            after = revise(before)
            have = {record.vector for record in before.written}
            fresh = [record for record in after.written if record.vector not in have]
            if fresh:
                await self.engine.add_vectors({one.vector: one.dimension for one in fresh})
            if changes := after.changes(before):
                await self.engine.write_registry(changes)
            self.known.learn(after, self.known.moment())
            return after
        finally:
            self.known.changing.release()

    async def to_stored(self, write: Write, points: Sequence[Point]) -> None:
        """Write to those of the points that are stored still; engines refuse any that is not.

        Raises:
            EngineError: the engine refused, and not because a point was deleted meanwhile.
        """
        while points:
            try:
                await write(points)
                return
            except ServerUnavailable:
                raise
            except EngineError:
                there = await self.engine.retrieve([point.id for point in points], [ID])
                if len(there) == len(points):
                    raise
                points = [point for point in points if point.id in there]

    def use(self, embedder: TextEmbedder) -> TextEmbedder:
        """Embed with this one.

        Raises:
            ModelMismatch: the vectors here are another model's.
        """
        self.registry.check_model(embedder)
        self.known.embedders[embedder.fingerprint] = embedder
        return embedder

    def embedder(self) -> TextEmbedder:
        """Return what embeds the views, loaded now if it was not before.

        Raises:
            CheckpointError: the model the collection was created with is not to be had.
            ModelMismatch: it is, but its weights have changed.
        """
        record = next(iter(self.registry.records.values()))
        found = self.known.embedders.get(record.fingerprint)
        return found or self.use(self._given() or Embedder(record.model))

    def _given(self) -> TextEmbedder | None:
        """Return an embedder of another model than the views have now, which is to be refused."""
        return next(iter(self.known.embedders.values()), None)

    async def embed(self, texts: Sequence[str], records: Sequence[ViewRecord]) -> Embeddings:
        """Embed texts under the questions of records; vectors come by vector name.

        A record that is being built by another process with a model that is not here is left out:
        its builder fills what lacks it.

        Raises:
            ModelMismatch, CheckpointError: the model of the views is not here.
            ModelError: a vector is not finite.
        """
        current = next(iter(self.registry.records.values())).fingerprint
        vectors = Embeddings({})
        for fingerprint in dict.fromkeys(record.fingerprint for record in records):
            embedder = self.known.embedders.get(fingerprint)
            if embedder is None and fingerprint == current:
                embedder = self.embedder()
            if embedder is None:
                continue
            own = [record for record in records if record.fingerprint == fingerprint]
            asked = _views(own)
            if self.threaded:
                found = await asyncio.to_thread(embedder.embed, texts, Views(asked.values()))
            else:
                found = embedder.embed(texts, Views(asked.values()))
            check_finite(found, embedder.name)
            vectors.update({one.vector: found[asked[one.instruction].name] for one in own})
            vectors.truncated, vectors.empty = found.truncated, found.empty
        return vectors

    async def explain(self, vectors: NDArray[np.float32], top: int) -> list[list[AnswerWord]]:
        """Return the `top` answer words of each of the vectors (N, H), best first."""
        explain = self.embedder().explain
        if self.threaded:
            return await asyncio.to_thread(explain, vectors, top=top)
        return explain(vectors, top=top)


def _views(records: Sequence[ViewRecord]) -> dict[str | None, View]:
    """Return the view that asks each question: a view and its successor may ask the same."""
    asked: dict[str | None, View] = {}
    names: set[str] = set()
    for record in records:
        if record.instruction not in asked:
            # A successor has the name of the view it replaces.
            name = record.vector if record.name in names else record.name
            names.add(name)
            asked[record.instruction] = View(name, record.instruction)
    return asked
