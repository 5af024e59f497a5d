"""Cluster: the documents of a view are grouped by their answers, and the groups are named.

Grouping is scikit-learn's own, on unit vectors less their mean: MiniBatchKMeans for a number of
clusters, which is searched by silhouette unless told; or HDBSCAN, which calls what lies between
clusters noise. Everything random has a seed, and clusters are numbered by size, so the same
documents give the same clusters, in whatever order they were added.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.clusters import NOISE, Cluster, Clusters, Method, centred
from inbedder_retrieval.collection import ViewCollection, Where
from inbedder_retrieval.collection.filters import WhereLike
from inbedder_retrieval.corpus import Corpus, Step, read_corpus
from inbedder_retrieval.documents import AnswerWord, Document
from inbedder_retrieval.errors import InputError, MissingExtraError
from inbedder_retrieval.naming import choose_names, contrast_words, typical_words

__all__ = ["cluster", "write_labels"]

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

MAX_CLUSTERS = 1_000
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
# Vectors without any groups come to less than this (384 random numbers: 0.01).
MIN_SILHOUETTE = 0.02
# HDBSCAN needs few dimensions, and its time grows with the square of the documents.
DENSE_DIMENSIONS = 15
DENSE_DOCUMENTS = 20_000
# The share of a dense cluster's documents that are less similar to its centre than its floor.
BELOW_FLOOR = 0.05
# How many central and doubtful documents of each cluster are named.
EXAMPLES = 5
BATCH = 1_000


def cluster(
    source: ViewCollection | Corpus,
    view: str,
    *,
    k: int | Literal["auto"] = "auto",
    method: Method = "kmeans",
    seed: int = 0,
    words: int = 5,
    filter: WhereLike | None = None,
    progress: Step | None = None,
) -> Clusters:
    """Group the documents of a view, and name the groups.

    Args:
        source: a collection, or a corpus that was read already.
        k: how many clusters. `auto` takes the number with the highest silhouette.
        method: `kmeans` puts every document into a cluster; `hdbscan` finds the number by itself,
            and leaves as noise what is in none.
        seed: of everything random.
        words: how many words are kept for each cluster.
        filter: cluster only documents that fit; for a collection.
        progress: called with what is being done, how much of it is done, and how much there is.

    Returns:
        Clusters, the largest first. One cluster, where nothing sets documents apart.

    Raises:
        InputError: there are fewer different documents than clusters, no document, or an option
            cannot be used.
        UnknownView, ViewNotReady: the view is not there, or not yet.
        CheckpointError: the model's vectors cannot be read as words.
        MissingExtraError: scikit-learn is not installed.
    """
    _check(k, method, seed, words)
    _require_sklearn()
    if isinstance(source, Corpus):
        if filter is not None:
            raise InputError("a filter is for a collection; give read_corpus the filter instead")
        corpus = source
    else:
        corpus = read_corpus(source, [view], filter=filter, progress=progress)
    vectors = corpus.of(view)
    if not len(vectors):
        raise InputError("there is no document to cluster; give at least one")
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    rows = centred(vectors, mean)
    different = len({row.tobytes() for row in vectors})
    if k != "auto" and k > different:
        raise InputError(
            f"{k} clusters were asked for, and there are {different} different documents in view "
            f"{view!r} (of {len(vectors)}); ask for fewer"
        )
    searched: dict[int, float] = {}
    if method == "hdbscan":
        labels = _dense(rows, different, seed, progress)
    else:
        if k == "auto":
            searched = _search(rows, different, seed, progress)
            number = max(searched, key=lambda number: (searched[number], -number), default=1)
            if searched.get(number, 0.0) < MIN_SILHOUETTE:
                number = 1
        else:
            number = k
        _told(progress, "clustering", 0, 1)
        labels = _kmeans(rows, number, seed)
    labels = _by_size(labels)
    return _named(corpus, view, rows, mean, labels, method, seed, words, searched, progress)


def write_labels(
    collection: ViewCollection,
    clusters: Clusters,
    field: str | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write each document's cluster into its metadata, so that searches can filter by it.

    `field` gets the cluster's id, -1 for noise, and `<field>_name` its name. Nothing is embedded.
    Documents that came or changed their text since keep what they have.

    Args:
        field: None takes `<view>_cluster`.
        progress: called with the number of documents that are safely stored.

    Returns how many documents were labelled; those labelled so already are counted.
    """
    field = f"{clusters.view}_cluster" if field is None else field
    _ = Where.field(field)  # Refuses what is no field, before anything is written.
    ids, done = list(clusters.labels), 0
    for start in range(0, len(ids), BATCH):
        found = collection.get(ids[start : start + BATCH])
        labelled = []
        for document in found:
            label = clusters.labels[document.id]
            marks = {field: label, f"{field}_name": clusters.name(label)}
            metadata = document.metadata | marks
            labelled.append(Document(document.text, document.id, metadata, document.notes))
        collection.add(labelled)
        done += len(labelled)
        if progress is not None:
            progress(done)
    return done


def _check(k: object, method: object, seed: object, words: object) -> None:
    if method not in ("kmeans", "hdbscan"):
        raise InputError(f"method is {method!r}; choose 'kmeans' or 'hdbscan'")
    if k != "auto":
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MAX_CLUSTERS:
            raise InputError(f"k is {k!r}; give a whole number from 1 to {MAX_CLUSTERS}, or 'auto'")
        if method == "hdbscan":
            raise InputError("hdbscan finds the number of clusters itself; leave k out")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < MAX_SEED:
        raise InputError(f"seed is {seed!r}; give a whole number from 0 to {MAX_SEED - 1}")
    if isinstance(words, bool) or not isinstance(words, int) or words < 1:
        raise InputError(f"words is {words!r}; ask for at least one")


def _require_sklearn() -> None:
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("clustering", "cluster") from error


def _kmeans(rows: Array, k: int, seed: int, runs: int = RUNS) -> Labels:
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
    return np.asarray(best.labels_, dtype=np.int64)


def _search(rows: Array, different: int, seed: int, progress: Step | None) -> dict[int, float]:
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
        found[k] = _silhouette(sample, _kmeans(sample, k, seed, TRIALS), seed)
        _told(progress, "choosing the number of clusters", number + 1, len(steps) + 4)
    best = max(found, key=lambda k: (found[k], -k))
    place = steps.index(best)
    around = range(steps[max(place - 1, 0)] + 1, steps[min(place + 1, len(steps) - 1)])
    near = [k for k in around if k not in found]
    for number, index in enumerate(np.linspace(0, len(near) - 1, min(4, len(near))).astype(int)):
        found[near[index]] = _silhouette(sample, _kmeans(sample, near[index], seed, TRIALS), seed)
        _told(progress, "choosing the number of clusters", len(steps) + number + 1, len(steps) + 4)
    return dict(sorted(found.items()))


def _silhouette(rows: Array, labels: Labels, seed: int) -> float:
    """Return the mean silhouette of a sample; 0 where it has fewer than two clusters in it."""
    from sklearn.metrics import silhouette_score

    clustered = np.flatnonzero(labels != NOISE)
    chosen = clustered[_chosen(len(clustered), JUDGED, seed)]
    if not 2 <= len(np.unique(labels[chosen])) < len(chosen):
        return 0.0
    return float(silhouette_score(rows[chosen], labels[chosen]))


def _dense(rows: Array, different: int, seed: int, progress: Step | None) -> Labels:
    """Find dense groups among the documents, or a sample of them that the others are put into."""
    from sklearn.cluster import HDBSCAN

    if different < 2 * MIN_DOCUMENTS:
        return np.zeros(len(rows), dtype=np.int64)
    _told(progress, "clustering", 0, 1)
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
    centres = _centres(sample, labels)
    floors = np.array(_floors(sample, labels, centres), dtype=np.float32)
    found = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), BATCH):
        similarity = rows[start : start + BATCH] @ centres.T
        nearest = similarity.argmax(axis=1)
        belongs = similarity.max(axis=1) >= floors[nearest]
        found[start : start + BATCH] = np.where(belongs, nearest, NOISE)
    found[chosen] = labels
    return found


def _named(
    corpus: Corpus,
    view: str,
    rows: Array,
    mean: Array,
    labels: Labels,
    method: Method,
    seed: int,
    words: int,
    searched: dict[int, float],
    progress: Step | None,
) -> Clusters:
    vectors, ids = corpus.of(view), [document.id for document in corpus.documents]
    groups = int(labels.max(initial=NOISE)) + 1
    own = corpus.words(view, progress)
    _told(progress, "naming clusters", 0, 1)
    typical = typical_words(own, labels, groups, top=words)
    contrast: list[list[AnswerWord]] = [[] for _ in range(groups)]
    if corpus.views[view].instruction is not None:
        means = np.stack([vectors[labels == label].mean(axis=0) for label in range(groups)])
        contrast = contrast_words(means, mean, corpus.embedder, top=words)
    names = choose_names(contrast, typical)
    centres = _centres(rows, labels)
    floors = _floors(rows, labels, centres) if method == "hdbscan" else [-1.0] * groups
    found: list[Cluster] = []
    for label in range(groups):
        members = np.flatnonzero(labels == label)
        similarity = rows[members] @ centres.T
        own_similarity = similarity[:, label].copy()
        similarity[:, label] = -np.inf
        margin = own_similarity - similarity.max(axis=1) if groups > 1 else own_similarity
        central = members[np.argsort(-own_similarity, kind="stable")[:EXAMPLES]]
        doubtful = members[np.argsort(margin, kind="stable")[:EXAMPLES]]
        found.append(
            Cluster(
                id=label,
                name=names[label],
                words=contrast[label],
                typical=typical[label],
                size=len(members),
                share=len(members) / len(rows),
                cohesion=float(own_similarity.mean()),
                floor=floors[label],
                central=[ids[k] for k in central],
                doubtful=[ids[k] for k in doubtful],
            )
        )
    return Clusters(
        view=view,
        instruction=corpus.views[view].instruction,
        model=corpus.embedder.name,
        fingerprint=corpus.embedder.fingerprint,
        method=method,
        seed=seed,
        silhouette=_silhouette(rows, labels, seed) if groups > 1 else None,
        searched=searched,
        clusters=found,
        labels=dict(zip(ids, labels.tolist(), strict=True)),
        mean=[float(number) for number in mean],
        centres=[[round(float(number), 7) for number in row] for row in centres],
    )


def _by_size(labels: Labels) -> Labels:
    """Number clusters from the largest on; of equal ones, that of the first document comes first.

    A number that no document has is closed up.
    """
    numbers, first, sizes = np.unique(
        labels[labels != NOISE], return_index=True, return_counts=True
    )
    order = np.lexsort((first, -sizes))
    places = {int(numbers[place]): rank for rank, place in enumerate(order)} | {NOISE: NOISE}
    return np.array([places[label] for label in labels.tolist()], dtype=np.int64)


def _centres(rows: Array, labels: Labels) -> Array:
    """Return the directions (K, H) of the clusters' means; zeros where there is none."""
    groups = int(labels.max(initial=NOISE)) + 1
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(groups)])
    return centred(means, np.zeros(rows.shape[1], dtype=np.float32))


def _floors(rows: Array, labels: Labels, centres: Array) -> list[float]:
    return [
        float(np.quantile(rows[labels == label] @ centre, BELOW_FLOOR))
        for label, centre in enumerate(centres)
    ]


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


def _told(progress: Step | None, action: str, done: int, total: int) -> None:
    if progress is not None:
        progress(action, done, total)
