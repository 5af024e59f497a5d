"""Cluster: the documents of a view are grouped by their answers, and the groups are named.

Grouping is scikit-learn's own, on unit vectors less their mean: MiniBatchKMeans for a number of
clusters, which is searched by silhouette unless told, finished by steps that put each document
where its cosine is highest, as other texts are put; or HDBSCAN, which calls what lies between
clusters noise. Everything random has a seed, and clusters are numbered by size, so the same
documents give the same clusters, in whatever order they were added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from inbedder_retrieval.clusters import NOISE, Cluster, Clusters, Method, centred
from inbedder_retrieval.collection import ViewCollection, Where
from inbedder_retrieval.collection.filters import WhereLike
from inbedder_retrieval.collection.schema import text_hash
from inbedder_retrieval.corpus import Corpus, Step, read_corpus
from inbedder_retrieval.documents import AnswerWord, Document
from inbedder_retrieval.errors import InputError, MissingExtraError
from inbedder_retrieval.grouping import (
    MAX_SEED,
    Array,
    Labels,
    centres_of,
    dense_groups,
    floors_of,
    kmeans,
    numbered_by_size,
    silhouette_of,
    silhouettes,
    told,
)
from inbedder_retrieval.naming import choose_names, contrast_words, typical_words

__all__ = ["cluster", "write_labels"]

MAX_CLUSTERS = 1_000
# Vectors without any groups come to less than this (384 random numbers: 0.01).
MIN_SILHOUETTE = 0.02
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
        labels = dense_groups(rows, different, seed, progress)
    else:
        if k == "auto":
            searched = silhouettes(rows, different, seed, progress)
            number = max(searched, key=lambda number: (searched[number], -number), default=1)
            if searched.get(number, 0.0) < MIN_SILHOUETTE:
                number = 1
        else:
            number = k
        told(progress, "clustering", 0, 1)
        labels = kmeans(rows, number, seed)
    labels = numbered_by_size(labels)
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
        field: None takes `<view>_cluster`, an underscore for each dot, which would make a path.
        progress: called with the number of documents that are safely stored.

    Returns how many documents were labelled; those labelled so already are counted.
    """
    field = f"{clusters.view}_cluster".replace(".", "_") if field is None else field
    _ = Where.field(field)  # Refuses what is no field, before anything is written.
    ids, done = list(clusters.labels), 0
    for start in range(0, len(ids), BATCH):
        found = collection.get(ids[start : start + BATCH])
        labelled = []
        for document in found:
            own = text_hash(document.text)
            if clusters.hashes.get(document.id, own) != own:
                continue
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
    told(progress, "naming clusters", 0, 1)
    typical = typical_words(own, labels, groups, top=words)
    contrast: list[list[AnswerWord]] = [[] for _ in range(groups)]
    if corpus.views[view].instruction is not None:
        means = np.stack([vectors[labels == label].mean(axis=0) for label in range(groups)])
        contrast = contrast_words(means, mean, corpus.embedder, top=words)
    names = choose_names(contrast, typical)
    centres = centres_of(rows, labels)
    parted = method == "hdbscan" and (labels == NOISE).any()
    floors = floors_of(rows, labels, centres) if parted else [-1.0] * groups
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
        silhouette=silhouette_of(rows, labels, seed) if groups > 1 else None,
        searched=searched,
        clusters=found,
        labels=dict(zip(ids, labels.tolist(), strict=True)),
        hashes={document.id: text_hash(document.text) for document in corpus.documents},
        mean=[float(number) for number in mean],
        centres=[[round(float(number), 7) for number in row] for row in centres],
    )
