"""Metrics: how well vectors, orders and clusters agree with what people said.

NumPy alone, and no knowledge of models or files. Shares are from 0 to 1; who shows them makes
percentages.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inbedder_retrieval.errors import InputError

__all__ = [
    "average_precision",
    "contingency",
    "harmonic_mean",
    "ndcg",
    "recall",
    "reciprocal_rank",
    "spearman",
    "success_rate",
    "v_measure",
]


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Return Spearman's rank correlation of two lists of N numbers, equal ones sharing a rank.

    Where one list holds a single value it orders nothing, and the correlation is 0.

    Raises:
        InputError: lists of different lengths, or of fewer than two numbers.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise InputError(
            f"a correlation of {a.shape} and {b.shape} numbers was asked for; give two lists of "
            "the same length, of two numbers at least"
        )
    ranks = _ranks(a), _ranks(b)
    x, y = (one - one.mean() for one in ranks)
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale else 0.0


def success_rate(anchors: ArrayLike, positives: ArrayLike, negatives: ArrayLike) -> float:
    """Return the share of triplets whose anchor is nearer to its positive, by cosine.

    A tie is no success, as in InBedder's TripletEvaluator.

    Args:
        anchors: unit vectors (N, H); so are the others.
    """
    a, p, n = (np.asarray(one, dtype=np.float64) for one in (anchors, positives, negatives))
    if not len(a) == len(p) == len(n) or not len(a):
        raise InputError(f"there are {len(a)} anchors, {len(p)} positives and {len(n)} negatives")
    return float(np.mean(np.sum(a * p, axis=1) > np.sum(a * n, axis=1)))


def harmonic_mean(shares: Sequence[float]) -> float:
    """Return the harmonic mean of shares; 0 where one of them is.

    Raises:
        InputError: no share, or one below 0.
    """
    if not shares or min(shares) < 0:
        raise InputError(f"a harmonic mean of {list(shares)} was asked for; give shares from 0 on")
    return len(shares) / sum(1 / share for share in shares) if min(shares) > 0 else 0.0


def contingency(labels: Sequence[object], clusters: Sequence[object]) -> NDArray[np.int64]:
    """Count how many of N items have each label (rows) and cluster (columns), both sorted.

    Raises:
        InputError: there are not as many labels as clusters, or none.
    """
    if len(labels) != len(clusters) or not len(labels):
        raise InputError(
            f"there are {len(labels)} labels and {len(clusters)} assignments to clusters; give one "
            "of each for every item"
        )
    rows, row = np.unique(np.asarray(list(labels)), return_inverse=True)
    columns, column = np.unique(np.asarray(list(clusters)), return_inverse=True)
    table = np.zeros((len(rows), len(columns)), dtype=np.int64)
    np.add.at(table, (row, column), 1)
    return table


def v_measure(labels: Sequence[object], clusters: Sequence[object]) -> float:
    """Return the V-measure of clusters against labels.

    The harmonic mean of homogeneity (a cluster holds one label) and completeness (a label lies in
    one cluster): Rosenberg and Hirschberg, EMNLP 2007, with beta 1, as in scikit-learn.

    Raises:
        InputError: as `contingency`.
    """
    table = contingency(labels, clusters).astype(np.float64)
    total = table.sum()
    of_labels, of_clusters = (
        _entropy(table.sum(axis=1) / total),
        _entropy(table.sum(axis=0) / total),
    )
    joint = _entropy(table.ravel() / total)
    shared = max(of_labels + of_clusters - joint, 0.0)
    homogeneity = shared / of_labels if of_labels else 1.0
    completeness = shared / of_clusters if of_clusters else 1.0
    both = homogeneity + completeness
    return 2 * homogeneity * completeness / both if both else 0.0


def ndcg(gains: ArrayLike, ideal: ArrayLike, depth: int) -> float:
    """Return the normalized discounted cumulative gain of a ranking, down to `depth`.

    A gain counts linearly and is divided by the base-2 logarithm of its rank plus one, as in
    trec_eval's ndcg_cut.

    Args:
        gains: the gains of what was found, best first; 0 for what is not relevant.
        ideal: the gains of all there is, in any order.
    """
    found = np.asarray(gains, dtype=np.float64)[:depth]
    best = np.sort(np.asarray(ideal, dtype=np.float64))[::-1][:depth]
    most = _discounted(best)
    return _discounted(found) / most if most else 0.0


def average_precision(relevant: ArrayLike, total: int) -> float:
    """Return the mean of the precisions at each relevant rank, of `total` that are relevant.

    Args:
        relevant: whether each of what was found is relevant, best first.
    """
    hits = np.asarray(relevant, dtype=bool)
    precisions = np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)
    return float(precisions.sum() / total) if total else 0.0


def recall(relevant: ArrayLike, total: int, depth: int) -> float:
    """Return the share of `total` relevant items among the first `depth` found."""
    return float(np.asarray(relevant, dtype=bool)[:depth].sum() / total) if total else 0.0


def reciprocal_rank(relevant: ArrayLike) -> float:
    """Return one divided by the rank of the first relevant item found; 0 where there is none."""
    places = np.flatnonzero(np.asarray(relevant, dtype=bool))
    return float(1 / (places[0] + 1)) if len(places) else 0.0


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means: NDArray[np.float64] = last - (counts - 1) / 2
    return means[place]


def _entropy(shares: NDArray[np.float64]) -> float:
    some = shares[shares > 0]
    # One share of 1 is no surprise at all, whatever rounding makes of it.
    return float(-(some @ np.log(some))) if len(some) > 1 else 0.0


def _discounted(gains: NDArray[np.float64]) -> float:
    return float(np.sum(gains / np.log2(np.arange(2, len(gains) + 2))))
