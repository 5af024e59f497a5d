"""Grouping: unit vectors to labels; a cluster's centre, and the similarity that it ends at.

As many clusters as are asked for (MiniBatchKMeans, finished by cosine), the silhouettes that speak
for a number of them, or dense groups with noise between them (HDBSCAN).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.clusters import NOISE, centred
from inbedder_retrieval.corpus import Step

__all__ = [
    "MAX_SEED",
    "Array",
    "Labels",
    "centres_of",
    "dense_groups",
    "floors_of",
    "kmeans",
    "numbered_by_size",
    "silhouette_of",
    "silhouettes",
    "told",
]

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

RUNS = 4
TRIALS = 2
# Numbers above it seed no run.
MAX_SEED = 2**30
# The search: numbers of clusters from 2 up to this, and no more than one for so many documents.
MAX_SEARCHED = 200
MIN_DOCUMENTS = 5
STEPS = 14
# How many documents the search fits on, and how many its silhouettes are taken over.
FITTED = 4_000
JUDGED = 2_000
# HDBSCAN needs few dimensions, and its time grows with the square of the documents.
DENSE_DIMENSIONS = 15
DENSE_DOCUMENTS = 20_000
# Steps of k-means by cosine: more than any corpus took.
SETTLING = 100
BATCH = 1_000


def kmeans(rows: Array, k: int, seed: int, runs: int = RUNS) -> Labels:
    """Part rows (N, H) into `k` clusters, each where its cosine to a cluster's mean is highest."""
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    if k == 1:
        return np.zeros(len(rows), dtype=np.int64)

    def fitted(run: int) -> Any:
        return MiniBatchKMeans(k, random_state=RUNS * seed + run, batch_size=BATCH, n_init=3).fit(
            rows
        )

    # One run may settle badly; of several from different starts the tightest is taken. Each has a
    # thread: within one, batches are so small that threads wait longer than they work.
    with threadpool_limits(1), ThreadPoolExecutor(runs) as pool:
        best = min(pool.map(fitted, range(runs)), key=lambda found: float(found.inertia_))
    return _settled(rows, np.asarray(best.labels_, dtype=np.int64), k)


def _settled(rows: Array, labels: Labels, k: int) -> Labels:
    """Put each row where its cosine to a cluster's mean is highest, until none moves.

    A cluster that is, or becomes, empty gets the row that is least similar to its own cluster's.
    """
    for _ in range(SETTLING):
        empty = np.setdiff1d(np.arange(k), labels)
        if len(empty):
            _, closed = np.unique(labels, return_inverse=True)
            own = (rows * centres_of(rows, closed)[closed]).sum(axis=1)
            # One of each kind of row, the most similar first; a cluster's first one stays in it.
            _, different = np.unique(rows, axis=0, return_index=True)
            different = different[np.argsort(-own[different], kind="stable")]
            _, staying = np.unique(labels[different], return_index=True)
            labels = labels.copy()
            labels[np.delete(different, staying)[-len(empty) :]] = empty
        nearest = (rows @ centres_of(rows, labels).T).argmax(axis=1)
        if np.array_equal(nearest, labels):
            break
        labels = nearest
    return labels


def silhouettes(rows: Array, different: int, seed: int, progress: Step | None) -> dict[int, float]:
    """Return the silhouette of numbers of clusters, closer together around the best of them."""
    most = min(MAX_SEARCHED, different // MIN_DOCUMENTS)
    if most < 2:
        most = 2 if different > 2 else 0
    if most == 0:
        return {}
    sample = rows[_chosen(len(rows), FITTED, seed)]
    steps = sorted({round(float(k)) for k in np.geomspace(2, most, STEPS)})
    found: dict[int, float] = {}
    for number, k in enumerate(steps):
        found[k] = silhouette_of(sample, kmeans(sample, k, seed, TRIALS), seed)
        told(progress, "choosing the number of clusters", number + 1, len(steps) + 4)
    best = max(found, key=lambda k: (found[k], -k))
    place = steps.index(best)
    around = range(steps[max(place - 1, 0)] + 1, steps[min(place + 1, len(steps) - 1)])
    near = [k for k in around if k not in found]
    for number, index in enumerate(np.linspace(0, len(near) - 1, min(4, len(near))).astype(int)):
        found[near[index]] = silhouette_of(sample, kmeans(sample, near[index], seed, TRIALS), seed)
        told(progress, "choosing the number of clusters", len(steps) + number + 1, len(steps) + 4)
    return dict(sorted(found.items()))


def silhouette_of(rows: Array, labels: Labels, seed: int) -> float:
    """Return the mean silhouette of a sample; 0 where it has fewer than two clusters in it."""
    from sklearn.metrics import silhouette_score

    clustered = np.flatnonzero(labels != NOISE)
    chosen = clustered[_chosen(len(clustered), JUDGED, seed)]
    if not 2 <= len(np.unique(labels[chosen])) < len(chosen):
        return 0.0
    return float(silhouette_score(rows[chosen], labels[chosen]))


def dense_groups(rows: Array, different: int, seed: int, progress: Step | None) -> Labels:
    """Find dense groups among the documents, or a sample of them that the others are put into."""
    from sklearn.cluster import HDBSCAN

    if different < 2 * MIN_DOCUMENTS:
        return np.zeros(len(rows), dtype=np.int64)
    told(progress, "clustering", 0, 1)
    chosen = _chosen(len(rows), DENSE_DOCUMENTS, seed)
    sample = rows[chosen]
    reduced = _reduced(sample, DENSE_DIMENSIONS, seed)
    least = max(MIN_DOCUMENTS, len(sample) // 200)
    fitted = HDBSCAN(min_cluster_size=least, min_samples=MIN_DOCUMENTS, copy=True).fit(reduced)
    labels = np.asarray(fitted.labels_, dtype=np.int64)
    if labels.max(initial=NOISE) < 0:
        return np.zeros(len(rows), dtype=np.int64)  # Nothing is denser than the rest.
    if len(sample) == len(rows):
        return labels
    centres = centres_of(sample, labels)
    floors = np.array(floors_of(sample, labels, centres), dtype=np.float32)
    found = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), BATCH):
        similarity = rows[start : start + BATCH] @ centres.T
        nearest = similarity.argmax(axis=1)
        belongs = similarity.max(axis=1) >= floors[nearest]
        found[start : start + BATCH] = np.where(belongs, nearest, NOISE)
    found[chosen] = labels
    return found


def numbered_by_size(labels: Labels) -> Labels:
    """Number clusters from the largest on; of equal ones, that of the first document comes first.

    A number that no document has is closed up.
    """
    numbers, first, sizes = np.unique(
        labels[labels != NOISE], return_index=True, return_counts=True
    )
    order = np.lexsort((first, -sizes))
    places = {int(numbers[place]): rank for rank, place in enumerate(order)} | {NOISE: NOISE}
    return np.array([places[label] for label in labels.tolist()], dtype=np.int64)


def centres_of(rows: Array, labels: Labels) -> Array:
    """Return the directions (K, H) of the clusters' means; zeros where there is none."""
    groups = int(labels.max(initial=NOISE)) + 1
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(groups)])
    return centred(means, np.zeros(rows.shape[1], dtype=np.float32))


def floors_of(rows: Array, labels: Labels, centres: Array) -> list[float]:
    """Return what best parts clusters from all else that is nearest to their centres."""
    similarity = rows @ centres.T
    nearest, highest = similarity.argmax(axis=1), similarity.max(axis=1)
    floors: list[float] = []
    for label in range(len(centres)):
        near = np.flatnonzero(nearest == label)
        near = near[np.argsort(-highest[near], kind="stable")]
        gained = np.cumsum(np.where(labels[near] == label, 1, -1))
        floors.append(float(highest[near[gained.argmax()]]) if len(near) else 1.0)
    return floors


def _reduced(rows: Array, components: int, seed: int) -> Array:
    """Return the first principal components (N, at most `components`)."""
    from sklearn.decomposition import PCA

    pca = PCA(min(components, *rows.shape), svd_solver="randomized", random_state=seed)
    return np.asarray(pca.fit_transform(rows), dtype=np.float32)


def _chosen(count: int, size: int, seed: int) -> NDArray[np.int64]:
    """Choose so many of a count, or all, in order."""
    if count <= size:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, size, replace=False))


def told(progress: Step | None, action: str, done: int, total: int) -> None:
    """Say what is being done, if somebody listens."""
    if progress is not None:
        progress(action, done, total)
