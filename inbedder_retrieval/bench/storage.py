"""Storage: how fast documents with given vectors are written and found, beside other stores.

All stores get the same documents and queries, one store after the other, each in a fresh folder.
Before `optimize` this package compares a query with every vector; after it, it follows graphs, and
`recall` says how many of the nearest it finds. A store that is slow gets a tenth of the documents,
and this package is measured on that tenth too, so that ratios are between equal numbers. All of it
takes some ten minutes for 100,000 documents on two cores.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, computed_field

from inbedder_retrieval.bench.backfill import Backfill, measure_backfill
from inbedder_retrieval.bench.figures import OURS
from inbedder_retrieval.bench.given import (
    FILTERED,
    LIMIT,
    SEARCHED,
    WEIGHTS,
    Given,
    Kind,
    draw,
    nearest,
)
from inbedder_retrieval.bench.machine import Machine, this_machine
from inbedder_retrieval.bench.stores import STORES, Ours, Store, StoreKind, quiet
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.embeddings import TextEmbedder
from inbedder_retrieval.errors import InputError

__all__ = ["Searches", "StorageReport", "StoreFigures", "StoreRatio", "measure_storage"]

FEWEST = 100
DIMENSION, QUERIES = 384, 200
WARM_UP = 3
# Where all documents would take a store longer than this, it gets a tenth of them.
LONGEST = 60.0
# Searches of a kind end after so many seconds, but not before so many queries.
LONGEST_SEARCH, FEWEST_QUERIES = 10.0, 20

Say = Callable[[str], None]
Stage = Literal["added", "optimized"]


class Searches(BaseModel):
    """Different queries, one at a time.

    Attributes:
        kind: what is searched; the `first` filtered search also makes the index of its field.
        stage: before or after the graphs were built.
        queries: as many as there were time for.
        recall: the share of the 10 nearest documents, found by comparing with all, that were found.
    """

    kind: Kind
    stage: Stage
    first: bool = False
    queries: int
    p50_ms: float
    p95_ms: float
    recall: float


class StoreFigures(BaseModel):
    """One store.

    Attributes:
        vectors: of each document.
        add_seconds: until all documents were stored.
        open_seconds: to open the store once more; None where nothing is kept.
        optimize_seconds: to build the graphs; this package only.
    """

    store: str
    engine: str
    documents: int
    vectors: int
    add_seconds: float
    open_seconds: float | None = None
    optimize_seconds: float | None = None
    searches: list[Searches]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def documents_per_second(self) -> float:
        return self.documents / self.add_seconds

    @computed_field  # type: ignore[prop-decorator]
    @property
    def vectors_per_second(self) -> float:
        return self.documents * self.vectors / self.add_seconds

    def of(self, kind: Kind, stage: Stage = "added", *, first: bool = False) -> Searches | None:
        """Return the searches of a kind, or None where there are none."""
        asked = (kind, stage, first)
        found = [one for one in self.searches if (one.kind, one.stage, one.first) == asked]
        return found[0] if found else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def filtered_times(self) -> dict[Stage, float]:
        """How many times as long as without a filter a search on an indexed field takes."""
        return self._times("filtered")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def three_views_times(self) -> dict[Stage, float]:
        """How many times as long as a search of one view a weighted one of three takes."""
        return self._times("three views")

    def _times(self, kind: Kind) -> dict[Stage, float]:
        stages: tuple[Stage, ...] = ("added", "optimized")
        found = {
            stage: _times(self.of("one view", stage), self.of(kind, stage)) for stage in stages
        }
        return {stage: times for stage, times in found.items() if times is not None}


class StoreRatio(BaseModel):
    """This package beside another store, on as many documents.

    Attributes:
        add: how many times its vectors a second this package stores.
        search, filtered: how many times this package's median search its own takes, both before
            `optimize`; None where it was not measured.
        opened: how many times as long it takes to open; None where nothing is kept.
    """

    store: str
    documents: int
    add: float
    search: float | None
    filtered: float | None
    opened: float | None


class StorageReport(BaseModel):
    """What one run measured.

    Attributes:
        queries: of each kind of search, where there was time for them.
        stores: this package first, on all documents.
        missing: what was left out, and why.
    """

    machine: Machine
    documents: int
    dimension: int
    queries: int
    stores: list[StoreFigures]
    backfill: Backfill | None = None
    missing: dict[str, str] = {}

    def ours(self, documents: int) -> StoreFigures:
        """Return this package's figures on so many documents."""
        return next(one for one in self.stores if one.store == OURS and one.documents == documents)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratios(self) -> list[StoreRatio]:
        """This package beside each other store."""
        return [_ratio(self.ours(one.documents), one) for one in self.stores if one.store != OURS]


def measure_storage(
    documents: int = 100_000,
    *,
    dimension: int = DIMENSION,
    queries: int = QUERIES,
    backfill: int | None = None,
    turns: int = 3,
    stores: Sequence[StoreKind] = STORES,
    embedder: TextEmbedder | None = None,
    longest: float = LONGEST,
    progress: Say | None = None,
) -> StorageReport:
    """Measure this package's storage beside other stores.

    Args:
        documents: how many are stored, with given vectors of `dimension` numbers.
        queries: how many are searched for, of each kind.
        backfill: how many short texts a view is added to; 0 leaves this out, and None takes a tenth
            of the documents.
        turns: of the backfill.
        stores: what to compare; this package is measured in any case.
        embedder: of the backfill; None takes the packaged model.
        longest: seconds that another store may take for all documents, to add and to search; one
            that would take longer gets a tenth of them.
        progress: called with what is about to be measured.

    Raises:
        InputError: fewer than 100 documents, no query, or what `draw` and `measure_backfill`
            refuse.
    """
    if documents < FEWEST:
        raise InputError(
            f"{documents} documents were asked for; storage is measured with {FEWEST} or more"
        )
    say = progress or (lambda _: None)
    later = documents // 10 if backfill is None else backfill
    if later and embedder is None:
        # What cannot be loaded is known before minutes of measuring.
        embedder = Embedder()
    say(f"drawing {documents:,} documents")
    given = draw(documents, queries, dimension)
    tenth = given.part(documents // 10)
    ours = next(kind for kind in STORES if kind.name == OURS)
    measured = [_measure(ours, given, say, optimize=True)]
    missing: dict[str, str] = {}
    for kind in stores:
        if kind.name == OURS:
            continue
        if kind.missing is not None:
            missing[kind.name] = kind.missing
            continue
        with quiet():
            begun = time.perf_counter()
            found = _measure(kind, tenth, say)
            if 10 * (time.perf_counter() - begun) <= longest:
                found = _measure(kind, given, say)
        measured.append(found)
    if any(found.documents < documents for found in measured):
        measured.insert(1, _measure(ours, tenth, say))
    with tempfile.TemporaryDirectory(prefix="inbedder-") as folder:
        filled = (
            measure_backfill(Path(folder), later, embedder=embedder, turns=turns, progress=say)
            if later
            else None
        )
    return StorageReport(
        machine=this_machine("cpu"),
        documents=documents,
        dimension=dimension,
        queries=queries,
        stores=measured,
        backfill=filled,
        missing=missing,
    )


def _measure(kind: StoreKind, given: Given, say: Say, *, optimize: bool = False) -> StoreFigures:
    """Measure one store in a folder of its own."""
    name = f"{kind.name}, {len(given.documents):,} documents"
    with tempfile.TemporaryDirectory(prefix="inbedder-") as folder:
        say(f"{name}: making what it takes")
        store = kind.make(given, Path(folder))
        try:
            say(f"{name}: adding")
            added = _seconds(store.add)
            opened = None
            if kind.kept:
                say(f"{name}: opening")
                store.close()
                opened = _seconds(store.open)
            searches = [
                one for each in kind.kinds for one in _search(store, given, each, "added", say)
            ]
            built = None
            if optimize and isinstance(store, Ours):
                say(f"{name}: building graphs")
                built = _seconds(store.optimize)
                for each in (*kind.kinds, *kind.kinds_after):
                    searches += _search(store, given, each, "optimized", say)
            return StoreFigures(
                store=kind.name,
                engine=store.engine,
                documents=len(given.documents),
                vectors=kind.vectors,
                add_seconds=added,
                open_seconds=opened,
                optimize_seconds=built,
                searches=searches,
            )
        finally:
            store.close()


def _search(store: Store, given: Given, kind: Kind, stage: Stage, say: Say) -> list[Searches]:
    """Search for every query; where that is the first search with a filter, it is told apart."""
    say(f"searching: {kind}, {stage}")
    weights = WEIGHTS if kind == "three views" else {SEARCHED: 1.0}
    value = FILTERED if kind == "filtered" else None
    true = nearest(given, weights, limit=LIMIT, value=value)
    found: list[list[str]] = []
    seconds: list[float] = []
    unindexed = kind == "filtered" and stage == "added" and isinstance(store, Ours)
    parts: list[Searches] = []
    if unindexed:
        begun = time.perf_counter()
        hits = store.search(given.queries[0], kind)
        parts.append(_figures(kind, stage, [time.perf_counter() - begun], [hits], true, first=True))
    for query in given.queries[:WARM_UP]:
        store.search(query, kind)
    for query in given.queries:
        begun = time.perf_counter()
        hits = store.search(query, kind)
        seconds.append(time.perf_counter() - begun)
        found.append(hits)
        if len(found) >= FEWEST_QUERIES and sum(seconds) > LONGEST_SEARCH:
            break
    return [*parts, _figures(kind, stage, seconds, found, true)]


def _figures(
    kind: Kind,
    stage: Stage,
    seconds: Sequence[float],
    found: Sequence[Sequence[str]],
    true: Sequence[set[str]],
    *,
    first: bool = False,
) -> Searches:
    p50, p95 = np.percentile(seconds, [50, 95])
    shares = [len(near & set(hits)) / len(near) for hits, near in zip(found, true, strict=False)]
    return Searches(
        kind=kind,
        stage=stage,
        first=first,
        queries=len(seconds),
        p50_ms=1000 * float(p50),
        p95_ms=1000 * float(p95),
        recall=float(np.mean(shares)),
    )


def _ratio(ours: StoreFigures, theirs: StoreFigures) -> StoreRatio:
    return StoreRatio(
        store=theirs.store,
        documents=theirs.documents,
        add=ours.vectors_per_second / theirs.vectors_per_second,
        search=_times(ours.of("one view"), theirs.of("one view")),
        filtered=_times(ours.of("filtered"), theirs.of("filtered")),
        opened=theirs.open_seconds / ours.open_seconds
        if ours.open_seconds and theirs.open_seconds
        else None,
    )


def _times(one: Searches | None, other: Searches | None) -> float | None:
    """Return how many times the one's median the other's is."""
    return None if one is None or other is None else other.p50_ms / one.p50_ms


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
