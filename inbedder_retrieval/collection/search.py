"""Search: a query, asked of one view or of several with weights, becomes hits.

The query is embedded under the same questions as the documents, so that "the same answer" is
what makes two texts near.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from inbedder_retrieval.collection.asked import MAX_LIMIT, Search
from inbedder_retrieval.collection.engine import FoundPoint, SearchRequest, VectorQuery
from inbedder_retrieval.collection.filters import Where
from inbedder_retrieval.collection.paths import value_at
from inbedder_retrieval.collection.query import Vectors, query_vectors
from inbedder_retrieval.collection.ranking import diversified, fused, grouped, in_order
from inbedder_retrieval.collection.registry import Registry, ViewRecord
from inbedder_retrieval.collection.schema import (
    ID,
    METADATA,
    TEXT,
    holds_document,
    metadata_of,
    noted,
)
from inbedder_retrieval.collection.store import Store
from inbedder_retrieval.documents import AnswerWord, Hit
from inbedder_retrieval.errors import (
    DocumentError,
    EngineError,
    InputError,
    ServerUnavailable,
    UnknownView,
    ViewNotReady,
)

__all__ = ["search"]

# Scores are summed in float32.
MAX_WEIGHT = 1e30


async def search(store: Store, asked: Search) -> list[Hit]:
    """Return the hits of a search, best first."""
    while True:
        registry = store.registry
        try:
            hits = await _search(store, asked)
            break
        except ServerUnavailable:
            raise
        except (DocumentError, EngineError, UnknownView):
            # Somebody else may have renamed, rebuilt or dropped a view meanwhile.
            if await store.refresh() == registry:
                raise
    if hits and asked.where is not None:
        await _index_fields(store, asked.where)
    return hits


async def _search(store: Store, asked: Search) -> list[Hit]:
    views = asked.views
    if views is None and asked.view is None and isinstance(asked.answer, Mapping):
        views = dict.fromkeys(asked.answer, 1.0)
    weights = choose_weights(store.registry, asked.view, views)
    records = [store.registry.record(name) for name in weights]
    for record in records:
        if record.state == "building" and not asked.allow_partial:
            raise ViewNotReady(
                f"view {record.name!r} is being built: documents lack it still. Finish it by "
                "adding it again, or search it with allow_partial=True"
            )
    vectors = await query_vectors(store, asked.wanted, records)
    finder = _Finder(store, asked, records, list(weights.values()), vectors)
    found = await finder.find()
    answers = await _answers(store, asked, [point for _, point in found], records)
    return [
        Hit(
            id=point.payload[ID],
            text=point.payload[TEXT],
            **noted(metadata_of(point.payload)),
            score=point.score,
            scores=finder.cosines(point),
            answers=answer,
            group=value,
        )
        for (value, point), answer in zip(found, answers, strict=True)
    ]


@dataclass(frozen=True)
class _Finder:
    """One search: what is asked, and what it comes to for the engine."""

    store: Store
    asked: Search
    records: Sequence[ViewRecord]
    weights: Sequence[float]
    vectors: Vectors

    async def find(self) -> list[tuple[Any, FoundPoint]]:
        """Return what fits, best first, each with the value of its group, if there are groups."""
        asked = self.asked
        if asked.group_by is not None:
            return await self._find_groups(asked.group_by)
        if asked.diversity is not None:
            weights = {
                record.vector: weight
                for record, weight in zip(self.records, self.weights, strict=True)
            }
            near = self._good(await self._nearest(max(asked.reach, self._candidates)))
            found = diversified(near, weights, asked.diversity, asked.reach)
        else:
            found = self._good(await self._settled(asked.reach))
        return [(None, point) for point in found[asked.offset : asked.reach]]

    def cosines(self, point: FoundPoint) -> dict[str, float]:
        """Return the cosine of what was found under each view, by the view's name."""
        if self._scored_by_cosine:
            return {self.records[0].name: point.score}
        return {
            record.name: float(np.dot(self.vectors[record.vector], point.vectors[record.vector]))
            for record in self.records
            if record.vector in point.vectors
        }

    @property
    def _scored_by_cosine(self) -> bool:
        """Whether scores say all there is to know of the vectors, which are not read then."""
        plain = self.asked.fusion == "sum" and self.asked.diversity is None
        return plain and list(self.weights) == [1.0] and not self.asked.words

    async def _find_groups(self, field: str) -> list[tuple[Any, FoundPoint]]:
        asked, count = self.asked, max(4 * self.asked.reach * self.asked.group_size, 100)
        while True:
            near = await self._nearest(min(count, MAX_LIMIT))
            good = self._good(near)
            values = [_value_at(point.payload[METADATA], field) for point in good]
            groups = grouped(good, values, asked.group_size)
            full = sum(len(members) == asked.group_size for _, members in groups[: asked.reach])
            done = len(near) < count or len(good) < len(near) or count >= MAX_LIMIT
            if full >= asked.reach or done:
                chosen = groups[asked.offset : asked.reach]
                return [(value, point) for value, members in chosen for point in members]
            count *= 4

    def _good(self, found: list[FoundPoint]) -> list[FoundPoint]:
        least = self.asked.threshold
        return found if least is None else [point for point in found if point.score >= least]

    async def _settled(self, reach: int) -> list[FoundPoint]:
        """Return points in an order that does not change from page to page.

        Points with equal scores are ordered by id. So that the same ones are at hand whatever the
        page, all that are equal to the last one are fetched.
        """
        count = reach + 1
        while True:
            found = await self._nearest(min(count, MAX_LIMIT))
            tied = len(found) > reach and found[-1].score == found[reach - 1].score
            if not tied or len(found) < count or count >= MAX_LIMIT:
                return found
            count *= 4

    @property
    def _candidates(self) -> int:
        return self.asked.candidates or max(200, 10 * self.asked.reach)

    async def _nearest(self, limit: int) -> list[FoundPoint]:
        queries = [
            VectorQuery(record.vector, self.vectors[record.vector], weight)
            for record, weight in zip(self.records, self.weights, strict=True)
        ]
        if self.asked.fusion == "ranks":
            count = self._candidates
            rankings = [await self._ask([query], count) for query in queries]
            return fused(rankings, self.weights)[:limit]
        found = await self._ask(queries, limit)
        if len(queries) == 1:
            # An engine weighs only what it sums.
            [weight] = self.weights
            found = [
                FoundPoint(point.id, point.payload, point.vectors, point.score * weight)
                for point in found
            ]
        return in_order(found)

    async def _ask(self, queries: Sequence[VectorQuery], limit: int) -> list[FoundPoint]:
        where = self.asked.where
        if self.asked.wanted.examples:
            others = ~Where.ids(self.asked.wanted.examples)
            where = others if where is None else where & others
        found = await self.store.engine.search(
            SearchRequest(
                queries=tuple(queries),
                limit=limit,
                candidates=max(limit, self._candidates),
                vectors=()
                if self._scored_by_cosine
                else tuple(record.vector for record in self.records),
                where=where,
                exact=self.asked.exact,
                shard=shard_of(self.store.registry, where),
            )
        )
        return [point for point in found if holds_document(point.payload)]


async def _answers(
    store: Store, asked: Search, found: Sequence[FoundPoint], records: Sequence[ViewRecord]
) -> list[dict[str, list[AnswerWord]]]:
    answers: list[dict[str, list[AnswerWord]]] = [{} for _ in found]
    for record in records:
        rows = [row for row, point in enumerate(found) if record.vector in point.vectors]
        if asked.words and rows and record.instruction is not None:
            stored = np.stack([found[row].vectors[record.vector] for row in rows])
            explained = await store.explain(stored, asked.words)
            for row, words in zip(rows, explained, strict=True):
                answers[row][record.name] = words
    return answers


async def _index_fields(store: Store, where: Where) -> None:
    fields = {path: kind for path, kind in where.fields() if path not in store.known.indexed}
    if not fields:
        return
    # Asked for once: who may only read a server does without, also next time.
    store.known.indexed.update(fields)
    # An index makes filters faster, not right.
    with suppress(EngineError):
        await store.engine.index_fields(fields)


def shard_of(registry: Registry, where: Where | None) -> str | None:
    """Return the shard key that a filter confines a search to; None where it names no tenant."""
    tenant = registry.storage.tenant
    if tenant is None or not registry.storage.shard_per_tenant or where is None:
        return None
    for part in where.parts if where.kind == "all" else (where,):
        if part.kind == "equals" and part.key == tenant and isinstance(part.value, str):
            return part.value
    return None


def _value_at(metadata: Any, field: str) -> Any:
    """Return the value of a field; None where there is no single one."""
    found = value_at(metadata, field)
    return found if isinstance(found, (str, int, float)) else None


def choose_weights(
    registry: Registry, view: str | None, views: Mapping[str, float] | None
) -> dict[str, float]:
    """Return the weight of each view to search, from what the caller named.

    Raises:
        UnknownView: a view is not in the collection, or none was named and there are several.
        InputError: both `view` and `views` were given, or a weight is not a positive number.
    """
    if view is not None and views is not None:
        raise InputError("both view and views were given; name one view, or several with weights")
    if views is None:
        if view is None and len(registry.records) > 1:
            raise UnknownView(
                f"the collection has several views ({', '.join(registry.records)}); "
                "say which to search"
            )
        views = {view if view is not None else next(iter(registry.records)): 1.0}
    if not views:
        raise InputError("no view was given to search; name at least one")
    for name, weight in views.items():
        registry.record(name)
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not 0 < weight <= MAX_WEIGHT:
            raise InputError(
                f"the weight of view {name!r} is {weight!r}; give a positive number up to "
                f"{MAX_WEIGHT:.0e}, or leave the view out"
            )
    return {name: float(weight) for name, weight in views.items()}
