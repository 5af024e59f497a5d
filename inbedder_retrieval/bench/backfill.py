"""The price of a question asked later: adding a view beside embedding texts for that view alone.

Both embed the same texts under the same question in batches of the same size, in turns; so what is
above 1 is storage. In a last turn another thread searches another view meanwhile. It is left out
of the ratio, since it embeds its queries on the same processor.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
from pydantic import BaseModel, computed_field

from inbedder_retrieval.bench.workload import drawn_texts, questions
from inbedder_retrieval.collection import ViewCollection
from inbedder_retrieval.collection.backfill import BATCH_DOCUMENTS
from inbedder_retrieval.documents import Document
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.embeddings import TextEmbedder
from inbedder_retrieval.errors import InputError
from inbedder_retrieval.views import Views

__all__ = ["Backfill", "measure_backfill"]

TEXT_WORDS, QUERY_WORDS = (3, 15), (3, 10)
QUERIES = 200
# Between two searches, so that they do not take the processor for themselves.
PAUSE = 0.05


class Backfill(BaseModel):
    """What adding a view took.

    Attributes:
        embed_turns: seconds of embedding all texts under the view alone, by turn.
        add_view_turns: seconds of adding the view to a folder that holds them, likewise.
        searched_seconds: of adding the view while another was searched.
        answers: searches that found something meanwhile; `p50_ms` and `p95_ms` are theirs.
    """

    model: str
    documents: int
    embed_turns: list[float]
    add_view_turns: list[float]
    searched_seconds: float
    answers: int
    p50_ms: float | None
    p95_ms: float | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> float:
        """The median of adding the view divided by the median of embedding for it."""
        return statistics.median(self.add_view_turns) / statistics.median(self.embed_turns)


def measure_backfill(
    folder: Path,
    documents: int,
    *,
    embedder: TextEmbedder | None = None,
    turns: int = 3,
    progress: Callable[[str], None] | None = None,
) -> Backfill:
    """Measure adding a view to so many short texts.

    Args:
        folder: where to make the collection; it must not hold one.
        embedder: None takes the packaged model.
        progress: called with what is about to be measured.

    Raises:
        InputError: no document or no turn.
    """
    if documents < 1 or turns < 1:
        raise InputError(
            f"{turns} turns of {documents} documents were asked for; both must be at least 1"
        )
    say = progress or (lambda _: None)
    embedder = Embedder() if embedder is None else embedder
    texts = list(drawn_texts(documents, *TEXT_WORDS))
    batches = [texts[k : k + BATCH_DOCUMENTS] for k in range(0, documents, BATCH_DOCUMENTS)]
    first, added = questions(2)[:1], questions(2)[1:]
    [name] = added.names
    alone: list[float] = []
    stored: list[float] = []

    def embed() -> None:
        for batch in batches:
            embedder.embed(batch, added)

    with ViewCollection.create(folder / "backfill.inb", first, embedder) as collection:
        say(f"backfill: storing {documents:,} texts under another view")
        collection.add(Document(text, id=str(k)) for k, text in enumerate(texts))
        for turn in range(turns):
            both = [
                (alone, embed, "embedding for a view alone"),
                (stored, lambda: collection.add_view(added), "adding the view"),
            ]
            # Each is as often the one that finds the machine as the other left it.
            for seconds, run, what in both if turn % 2 == 0 else reversed(both):
                say(f"backfill: {what}, turn {turn + 1} of {turns}")
                seconds.append(_seconds(run))
            collection.drop_view(name)
        say("backfill: adding the view while another is searched")
        seconds_searched, answered = _searched(collection, first, added)
    found = np.percentile(answered, [50, 95]) if answered else None
    return Backfill(
        model=embedder.name,
        documents=documents,
        embed_turns=alone,
        add_view_turns=stored,
        searched_seconds=seconds_searched,
        answers=len(answered),
        p50_ms=None if found is None else 1000 * float(found[0]),
        p95_ms=None if found is None else 1000 * float(found[1]),
    )


def _searched(collection: ViewCollection, first: Views, added: Views) -> tuple[float, list[float]]:
    """Add a view while another thread searches; return its seconds, and those of each answer."""
    [view] = first.names
    queries = list(drawn_texts(QUERIES, *QUERY_WORDS))
    begun, done = Event(), Event()

    def ask() -> list[tuple[float, float]]:
        answered: list[tuple[float, float]] = []
        while not done.is_set():
            start = time.perf_counter()
            begun.set()
            if collection.search(queries[len(answered) % QUERIES], view=view):
                answered.append((start, time.perf_counter()))
            done.wait(PAUSE)
        return answered

    with ThreadPoolExecutor(max_workers=1) as pool:
        asking = pool.submit(ask)
        begun.wait()
        start = time.perf_counter()
        try:
            collection.add_view(added)
        finally:
            end = time.perf_counter()
            done.set()
        spans = asking.result()
    # What was answered before it began or after it ended says nothing.
    return end - start, [late - early for early, late in spans if start <= late <= end]


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
