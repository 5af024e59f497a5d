"""Groups: those that are there are found, the same each time, and bad input is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from sklearn.metrics import v_measure_score

from inbedder_retrieval import (
    Document,
    Embeddings,
    InputError,
    UnknownView,
    ViewCollection,
    ViewNotReady,
    Views,
    Where,
)
from inbedder_retrieval.cluster import cluster, write_labels
from inbedder_retrieval.clusters import Method
from inbedder_retrieval.corpus import Corpus
from inbedder_retrieval.demo import DEMO_VIEWS, LABELS
from inbedder_retrieval.testing import FakeEmbedder
from inbedder_retrieval.views import ViewsLike
from tests.clustering.conftest import SIZES, blobs, corpus_of


@pytest.mark.parametrize("k", ["auto", 3])
def test_groups_that_are_there_are_found_and_numbered_by_size(
    blobbed: Corpus, k: int | Literal["auto"]
) -> None:
    found = cluster(blobbed, "which", k=k)
    assert [one.size for one in found.clusters] == list(SIZES)
    assert list(found.labels.values()) == [0] * 40 + [1] * 30 + [2] * 20
    assert list(found.labels) == [document.id for document in blobbed.documents]
    assert sum(one.share for one in found.clusters) == pytest.approx(1)


def test_figures_of_a_cluster_are_those_of_plain_numpy(blobbed: Corpus) -> None:
    found = cluster(blobbed, "which", k=3)
    vectors = blobbed.of("which").astype(np.float64)
    rows = vectors - vectors.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = np.array(list(found.labels.values()))
    centres = np.stack([rows[labels == k].mean(axis=0) for k in range(3)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    cosines = rows @ centres.T
    for one in found.clusters:
        members = np.flatnonzero(labels == one.id)
        own = cosines[members, one.id]
        margin = own - np.delete(cosines[members], one.id, axis=1).max(axis=1)
        assert one.cohesion == pytest.approx(own.mean(), abs=1e-4)
        assert one.central[0] == f"d{members[own.argmax()]:03d}"
        assert one.doubtful[0] == f"d{members[margin.argmin()]:03d}"
    assert found.silhouette is not None
    assert found.silhouette > 0.5


def test_the_order_of_documents_does_not_matter(tmp_path: Path) -> None:
    texts = [f"{word} number {k}" for word in ("lamp", "phone", "chair") for k in range(8)]
    documents = [Document(text, id=str(k)) for k, text in enumerate(texts)]
    found = []
    for name, order in (("one", documents), ("other", documents[::-1])):
        with ViewCollection.create(tmp_path / name, {"q": "What?"}, FakeEmbedder()) as collection:
            collection.add(order)
            found.append(cluster(collection, "q", k=3))
    assert found[0] == found[1]


def test_what_lies_between_dense_groups_is_noise() -> None:
    draw = np.random.default_rng(3).standard_normal((12, 32))
    lone = (draw / np.linalg.norm(draw, axis=1, keepdims=True)).astype(np.float32)
    corpus = corpus_of(np.concatenate([blobs(), lone]))
    found = cluster(corpus, "which", method="hdbscan")
    assert list(found.labels.values())[:90] == [0] * 40 + [1] * 30 + [2] * 20
    assert len(found.noise) >= 6
    assert set(found.noise) <= {f"d{k:03d}" for k in range(90, 102)}
    assert found.name(-1) == "noise"
    assert -1 < found.clusters[0].floor < 1
    assert sum(one.size for one in found.clusters) + len(found.noise) == len(found.labels)


@pytest.mark.parametrize("k", [2, 7, 49, 98])
def test_as_many_clusters_are_found_as_were_asked_for(k: int) -> None:
    """Also where documents repeat each other, so that k-means leaves clusters empty."""
    draw = np.random.default_rng(5)
    vectors = blobs((40, 30, 28), spread=0.6)
    assert len(np.unique(vectors, axis=0)) == 98
    corpus = corpus_of(vectors[np.concatenate([np.arange(98), draw.zipf(1.5, 500) % 98])])
    found = cluster(corpus, "which", k=k)
    assert len(found.clusters) == k
    assigned = found.assign_vectors(corpus.of("which"))
    assert [one.cluster for one in assigned] == list(found.labels.values())


def test_documents_of_the_demo_are_assigned_as_they_are_labelled(demo: Corpus) -> None:
    vectors = demo.of("product")
    found = cluster(demo, "product")
    assert [one.cluster for one in found.assign_vectors(vectors)] == list(found.labels.values())
    # Dense groups have other shapes than what is nearest to a centre.
    dense = cluster(demo, "product", method="hdbscan")
    pairs = zip(dense.assign_vectors(vectors), dense.labels.values(), strict=True)
    assert sum(one.cluster == label for one, label in pairs) > 0.8 * len(vectors)


def test_where_nothing_is_denser_every_text_belongs(blobbed: Corpus) -> None:
    found = cluster(corpus_of(blobs((9,))), "which", method="hdbscan")
    assert [one.size for one in found.clusters] == [9]
    assert {one.cluster for one in found.assign_vectors(blobbed.of("which"))} == {0}


def test_numbers_without_groups_are_one_cluster() -> None:
    draw = np.random.default_rng(0).standard_normal((300, 384))
    vectors = (draw / np.linalg.norm(draw, axis=1, keepdims=True)).astype(np.float32)
    found = cluster(corpus_of(vectors, None), "general")
    assert [one.size for one in found.clusters] == [300]
    assert found.silhouette is None
    assert max(found.searched.values()) < 0.02


@pytest.mark.parametrize("count", [1, 2, 50])
@pytest.mark.parametrize("method", ["kmeans", "hdbscan"])
def test_equal_documents_are_one_cluster_without_nan(count: int, method: Method) -> None:
    corpus = corpus_of(np.repeat(blobs((1,)), count, axis=0))
    found = cluster(corpus, "which", method=method)
    assert [one.size for one in found.clusters] == [count]
    assert "NaN" not in found.model_dump_json()
    assert np.isfinite([*found.mean, *found.centres[0], found.clusters[0].cohesion]).all()


@pytest.mark.parametrize("count", [2, 3, 4, 7, 12])
def test_few_documents_are_clustered(count: int) -> None:
    found = cluster(corpus_of(blobs((count,), spread=3.0)), "which")
    assert sum(one.size for one in found.clusters) == count


def test_more_clusters_than_different_documents_are_refused(blobbed: Corpus) -> None:
    with pytest.raises(InputError, match=r"91 clusters .* there are 90 different documents"):
        cluster(blobbed, "which", k=91)
    same = corpus_of(np.repeat(blobs((1,)), 5, axis=0))
    with pytest.raises(InputError, match=r"2 clusters .* there are 1 different .*of 5"):
        cluster(same, "which", k=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": True}, "k is True"),
        ({"k": 2.0}, "k is 2.0"),
        ({"k": 1_001}, "1 to 1000"),
        ({"method": "dbscan"}, "choose 'kmeans' or 'hdbscan'"),
        ({"method": "hdbscan", "k": 3}, "leave k out"),
        ({"seed": -1}, "seed is -1"),
        ({"words": 0}, "words is 0"),
        ({"filter": {"a": 1}}, "a filter is for a collection"),
    ],
)
def test_bad_options_are_refused(blobbed: Corpus, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cluster(blobbed, "which", **options)  # type: ignore[arg-type]


def test_an_unknown_or_empty_view_is_refused(blobbed: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UnknownView, match="there are which"):
        cluster(blobbed, "mood")
    with ViewCollection.create(tmp_path / "c", {"q": "What?"}, FakeEmbedder()) as collection:
        with pytest.raises(InputError, match="there is no document"):
            cluster(collection, "q")
        with pytest.raises(UnknownView, match="the collection has q"):
            cluster(collection, "mood")
        collection.add([Document("a", metadata={"n": 1})])
        with pytest.raises(InputError, match="that fits the filter"):
            cluster(collection, "q", filter={"n": 2})


class Interrupted(FakeEmbedder):
    """Stops when it is to ask texts the new question."""

    def embed(self, texts: Iterable[str], views: ViewsLike) -> Embeddings:
        """Embed, but for the new question."""
        texts = list(texts)
        if texts and "new" in Views.of(views).names:
            raise KeyboardInterrupt
        return super().embed(texts, views)


def test_a_view_still_building_is_refused(tmp_path: Path) -> None:
    with ViewCollection.create(tmp_path / "c", {"q": "What?"}, Interrupted()) as collection:
        collection.add([Document("a"), Document("b")])
        with pytest.raises(KeyboardInterrupt):
            collection.add_view({"new": "Why?"})
        with pytest.raises(ViewNotReady, match="2 documents lack it"):
            cluster(collection, "new")


def test_labels_are_written_back_and_searches_filter_by_them(tmp_path: Path) -> None:
    texts = [f"{word} number {k}" for word in ("lamp", "phone", "chair") for k in range(8)]
    documents = [Document(t, id=str(k), metadata={"k": k}) for k, t in enumerate(texts)]
    fake = FakeEmbedder()
    with ViewCollection.create(tmp_path / "c", {"q": "What?"}, fake) as collection:
        collection.add(documents)
        found = cluster(collection, "q", k=3)
        seen = fake.texts_seen
        assert write_labels(collection, found) == 24
        assert fake.texts_seen == seen  # Nothing is embedded anew.
        for one in found.clusters:
            where = Where.field("q_cluster") == one.id
            assert collection.count(where) == one.size
            [hit, *_] = collection.search("lamp", filter=where)
            assert hit.metadata["q_cluster_name"] == one.name
            assert hit.metadata["k"] == int(hit.id)
        collection.delete(["0"])
        collection.add([Document("another thing altogether", id="1", metadata={"k": 1})])
        assert write_labels(collection, found, "group") == 22
        [edited] = collection.get(["1"])
        assert edited.metadata == {"k": 1}


def test_the_field_of_a_view_with_a_dot_is_no_path(tmp_path: Path) -> None:
    with ViewCollection.create(tmp_path / "c", {"v1.0": "What?"}, FakeEmbedder()) as collection:
        collection.add([Document(f"lamp {k}", id=str(k)) for k in range(4)])
        assert write_labels(collection, cluster(collection, "v1.0", k=1)) == 4
        assert collection.count(Where.field("v1_0_cluster") == 0) == 4


def test_progress_says_what_is_done(blobbed: Corpus) -> None:
    steps: list[tuple[str, int, int]] = []
    cluster(corpus_of(blobs()), "which", progress=lambda *step: steps.append(step))
    said = [action for action, _, _ in steps]
    assert list(dict.fromkeys(said)) == [
        "choosing the number of clusters",
        "clustering",
        "reading answers",
        "naming clusters",
    ]
    assert all(0 <= done <= total for _, done, total in steps)


def test_the_right_question_beats_the_others_and_the_general_view(demo: Corpus) -> None:
    """V-measure against the hidden labels: the mean of five seeds, five clusters each."""
    truth = {label: [one.metadata[label] for one in demo.documents] for label in LABELS}
    table: dict[str, dict[str, float]] = {}
    for view in DEMO_VIEWS.names:
        runs = [cluster(demo, view, k=5, seed=seed).labels.values() for seed in range(5)]
        table[view] = {
            label: 100 * float(np.mean([v_measure_score(truth[label], list(run)) for run in runs]))
            for label in LABELS
        }
    lines = ["", "view      " + "".join(f"{label:>9}" for label in LABELS)]
    for view, row in table.items():
        lines.append(f"{view:<10}" + "".join(f"{row[label]:9.1f}" for label in LABELS))
    sys.stdout.write("\n".join(lines) + "\n")
    for label in LABELS:
        others = [table[view][label] for view in DEMO_VIEWS.names if view != label]
        assert table[label][label] > max(others), (label, table)


def test_names_of_the_demo_are_what_it_is_about(demo: Corpus) -> None:
    named = " | ".join(one.name for one in cluster(demo, "product", k=5).clusters)
    # The word pieces of "headphones" are also those of phones and of earphones.
    for word in ("bike", "coffee", "backpack", "vacuum", "phones"):
        assert word in named


def test_importing_loads_neither_scikit_learn_nor_matplotlib() -> None:
    modules = "cluster, clusters, corpus, crosstab, mapping, naming, plot, report"
    heavy = ["sklearn", "scipy", "openTSNE", "matplotlib", "torch"]
    code = (
        f"import sys; from inbedder_retrieval import {modules}; "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
