"""Search: a text, asked of one view or of several with weights, becomes hits.

The query is embedded under the same questions as the documents, so that "the same answer" is
what makes two texts near.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from inbedder_retrieval.collection.engine import Engine, FoundPoint, VectorQuery
from inbedder_retrieval.collection.filters import Where
from inbedder_retrieval.collection.schema import ID, TEXT, Registry, metadata_of
from inbedder_retrieval.documents import AnswerWord, Hit
from inbedder_retrieval.embeddings import TextEmbedder
from inbedder_retrieval.errors import InputError, UnknownView
from inbedder_retrieval.views import Views

__all__ = ["choose_weights", "search_views"]

# Scores are summed in float32.
MAX_WEIGHT = 1e30


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


def search_views(
    engine: Engine,
    registry: Registry,
    embedder: TextEmbedder,
    query: str,
    weights: Mapping[str, float],
    *,
    limit: int,
    where: Where | None,
    explain: int,
) -> list[Hit]:
    """Search the views of `weights` and return hits, best first."""
    records = {name: registry.record(name) for name in weights}
    embedded = embedder.embed([query], Views(record.view for record in records.values()))
    vectors = {name: embedded[name][0] for name in weights}
    found = engine.search(
        [VectorQuery(records[name].vector, vectors[name], weights[name]) for name in weights],
        limit=limit,
        where=where,
    )
    scores = [
        {
            name: float(np.dot(vectors[name], point.vectors[record.vector]))
            for name, record in records.items()
            if record.vector in point.vectors
        }
        for point in found
    ]
    answers: list[dict[str, list[AnswerWord]]] = [{} for _ in found]
    if explain:
        for name, record in records.items():
            if record.instruction is not None:
                _add_answers(answers, found, name, record.vector, embedder, explain)
    return [
        Hit(
            id=point.payload[ID],
            text=point.payload[TEXT],
            metadata=metadata_of(point.payload),
            # An engine weighs only what it sums.
            score=point.score * (next(iter(weights.values())) if len(weights) == 1 else 1.0),
            scores=score,
            answers=answer,
        )
        for point, score, answer in zip(found, scores, answers, strict=True)
    ]


def _add_answers(
    answers: list[dict[str, list[AnswerWord]]],
    found: list[FoundPoint],
    view: str,
    vector: str,
    embedder: TextEmbedder,
    top: int,
) -> None:
    rows = [row for row, point in enumerate(found) if vector in point.vectors]
    if not rows:
        return
    words = embedder.explain(np.stack([found[row].vectors[vector] for row in rows]), top=top)
    for row, read in zip(rows, words, strict=True):
        answers[row][view] = read
