"""Ranking: what a collection does with points an engine has found, alike on every engine.

Nothing here talks to an engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.collection.engine import FoundPoint

__all__ = ["diversified", "fused", "grouped", "in_order"]

# What a first rank counts less than twice a second one: the constant of the paper below.
RANK_CONSTANT = 60


def in_order(found: Sequence[FoundPoint]) -> list[FoundPoint]:
    """Sort points, best first; those with equal scores by their ids."""
    return sorted(found, key=lambda point: (-point.score, point.id))


def fused(rankings: Sequence[Sequence[FoundPoint]], weights: Sequence[float]) -> list[FoundPoint]:
    """Join rankings by weighted reciprocal rank fusion, best first.

    A point's score is the sum over the rankings it is in of weight / (60 + rank), ranks from 1
    (Cormack, Clarke and Buettcher, SIGIR 2009; the weights are ours). It says nothing about how
    near a point is, so it suits views whose cosines cannot be compared.
    """
    scores: dict[str, float] = {}
    points: dict[str, FoundPoint] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, point in enumerate(in_order(ranking), 1):
            scores[point.id] = scores.get(point.id, 0.0) + weight / (RANK_CONSTANT + rank)
            points[point.id] = point
    return in_order([replace(point, score=scores[name]) for name, point in points.items()])


def diversified(
    found: Sequence[FoundPoint], weights: Mapping[str, float], diversity: float, limit: int
) -> list[FoundPoint]:
    """Choose points that are near the query and unlike each other, in the order of choice.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): each choice has the greatest
    (1 - diversity) * relevance - diversity * (greatest likeness to one chosen before). Both are
    weighted means of cosines over the views. The points keep their scores.

    Args:
        weights: what each named vector weighs; a vector that a point lacks counts zero.
        diversity: 0 for relevance alone, 1 for nothing but difference.
    """
    if not found:
        return []
    found = in_order(found)
    total = sum(weights.values())
    relevance = np.array([point.score for point in found]) / total
    # Scaled by the root of its share, so that one product of matrices weighs all views.
    rows = np.concatenate(
        [np.sqrt(weight / total) * _matrix(found, name) for name, weight in weights.items()],
        axis=1,
    )
    nearest = np.full(len(found), -np.inf)
    left = np.ones(len(found), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < min(limit, len(found)):
        gain = (1 - diversity) * relevance - (diversity * nearest if chosen else 0.0)
        best = int(np.argmax(np.where(left, gain, -np.inf)))
        chosen.append(best)
        left[best] = False
        nearest = np.maximum(nearest, rows @ rows[best])
    return [found[row] for row in chosen]


def grouped(
    found: Sequence[FoundPoint], values: Sequence[Any], size: int
) -> list[tuple[Any, list[FoundPoint]]]:
    """Part ordered points by a value of each, groups in the order of their best point.

    Args:
        values: the value of each point; None leaves a point out.
        size: how many points of a group are kept.
    """
    groups: dict[Any, list[FoundPoint]] = {}
    for point, value in zip(found, values, strict=True):
        if value is not None:
            members = groups.setdefault((type(value).__name__, value), [])
            if len(members) < size:
                members.append(point)
    return [(value, members) for (_, value), members in groups.items()]


def _matrix(found: Sequence[FoundPoint], name: str) -> NDArray[np.float64]:
    width = max((len(p.vectors[name]) for p in found if name in p.vectors), default=1)
    none = np.zeros(width)
    return np.array([point.vectors.get(name, none) for point in found], dtype=np.float64)
