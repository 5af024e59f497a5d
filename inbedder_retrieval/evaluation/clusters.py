"""Clusters: vectors grouped as InBedder's evaluation groups them, and how they lie across labels.

The protocol is InBedder's (its ClusteringEvaluator): MiniBatchKMeans with a batch of 500, one
k-means++ start (`n_init="auto"`), as many clusters as labels, on the vectors as they are. It fits
once, without a seed of its own; here there are ten fits with the seeds 0 to 9, and the first of
them stands for the single one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.errors import InputError, MissingExtraError
from inbedder_retrieval.evaluation.contenders import Contender, Vectors
from inbedder_retrieval.evaluation.scores import Confusion
from inbedder_retrieval.metrics import contingency, v_measure

__all__ = ["Protocol", "Spread", "cluster", "confusion", "spread_of"]

# What a picture has room for.
MOST_LABELS = 40


@dataclass(frozen=True)
class Protocol:
    """How clusters are made.

    Attributes:
        seeds: how many fits, with the seeds 0, 1, ...
        centred: subtract the mean of all vectors first, and scale to unit length again. The
            published protocol does not.
        starts: of which MiniBatchKMeans takes the best; `auto` is one.
    """

    seeds: int = 10
    batch_size: int = 500
    centred: bool = False
    starts: int | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"{self.seeds} seeds were asked for; give 1 or more")
        if self.starts != "auto" and self.starts < 1:
            raise InputError(f"{self.starts} starts were asked for; give 1 or more")

    def __str__(self) -> str:
        vectors = "centred unit vectors" if self.centred else "unit vectors"
        seeds = "seed 0" if self.seeds == 1 else f"mean over seeds 0 to {self.seeds - 1}"
        return (
            f"MiniBatchKMeans of {vectors}, batch {self.batch_size}, starts {self.starts}, {seeds}"
        )


@dataclass(frozen=True)
class Spread:
    """Scores of several fits, from 0 to 1."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        return float(np.std(self.values))


def cluster(vectors: Vectors, count: int, protocol: Protocol) -> list[NDArray[np.int64]]:
    """Group vectors (N, H) into `count` clusters, once for each seed.

    Returns:
        For each seed the cluster (N,) of every vector.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        kmeans = import_module("sklearn.cluster").MiniBatchKMeans
        limits = import_module("threadpoolctl").threadpool_limits
    except ImportError as error:
        raise MissingExtraError("clustering", "eval") from error
    if protocol.centred:
        vectors = vectors - vectors.mean(axis=0)
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    # A batch is so small that threads wait for each other: one is up to 25 times as fast.
    with limits(1):
        return [
            kmeans(
                n_clusters=count,
                batch_size=protocol.batch_size,
                n_init=protocol.starts,
                random_state=seed,
            )
            .fit(vectors)
            .labels_.astype(np.int64)
            for seed in range(protocol.seeds)
        ]


def spread_of(labels: Sequence[str], fits: Sequence[NDArray[np.int64]]) -> Spread:
    """Return the V-measures of several fits against the same labels."""
    return Spread(tuple(v_measure(labels, fit.tolist()) for fit in fits))


def confusion(
    task: str,
    aspect: str,
    contender: Contender,
    instruction: str | None,
    labels: Sequence[str],
    vectors: Vectors,
    fit: NDArray[np.int64],
) -> Confusion | None:
    """Count labels in clusters, and read the clusters' means as words.

    Clusters stand in the order of the labels they hold most of. None where there are more labels
    than a picture has room for.
    """
    table = contingency(labels, fit.tolist())
    if len(table) > MOST_LABELS:
        return None
    order = sorted(range(table.shape[1]), key=lambda k: (table[:, k].argmax(), -table[:, k].max()))
    numbers = np.unique(fit)[order]
    words: list[list[str]] = [[] for _ in order]
    if contender.explain is not None:
        means = np.stack([vectors[fit == number].mean(axis=0) for number in numbers])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        everything = vectors.mean(axis=0)
        everything /= np.linalg.norm(everything)
        read = contender.explain(means, everything)
        words = [[answer.word for answer in answers] for answers in read]
    return Confusion(
        task=task,
        aspect=aspect,
        contender=contender.name,
        instruction=instruction,
        labels=sorted(set(labels)),
        counts=table[:, order].tolist(),
        words=words,
    )
