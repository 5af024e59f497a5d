"""Clusters: kept as JSON, and other texts put into them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inbedder_retrieval import InputError, ModelMismatch
from inbedder_retrieval.cluster import cluster
from inbedder_retrieval.clusters import Clusters
from inbedder_retrieval.corpus import Corpus, embed_corpus
from inbedder_retrieval.demo import DEMO_VIEWS, demo_documents
from inbedder_retrieval.testing import FakeEmbedder
from tests.clustering.conftest import blobs, corpus_of


@pytest.fixture(scope="module")
def found(blobbed: Corpus) -> Clusters:
    return cluster(blobbed, "which", k=3)


def test_what_is_saved_is_what_is_loaded(found: Clusters, tmp_path: Path) -> None:
    found.save(tmp_path / "c.json")
    loaded = Clusters.load(tmp_path / "c.json")
    assert loaded == found
    assert loaded.searched == found.searched


def test_alternatives_are_the_other_peaks_of_the_search(found: Clusters) -> None:
    curve = {2: 0.1, 4: 0.3, 3: 0.5, 8: 0.2, 16: 0.4, 32: 0.45, 64: 0.2, 90: 0.25}
    searched = found.model_copy(update={"searched": curve})
    assert len(searched.clusters) == 3
    assert searched.alternatives == [32, 90]
    assert found.searched == {}
    assert found.alternatives == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', "{", '{"clusters": 3}', "\x00"])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match="holds no clusters"):
        Clusters.load(tmp_path / "c.json")


def test_a_missing_file_and_missing_centres_are_refused(found: Clusters, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Clusters.load(tmp_path / "none.json")
    broken = found.model_dump(mode="json") | {"centres": []}
    (tmp_path / "c.json").write_text(json.dumps(broken))
    with pytest.raises(InputError, match="without their centres"):
        Clusters.load(tmp_path / "c.json")


def test_documents_are_assigned_to_their_own_clusters(found: Clusters, blobbed: Corpus) -> None:
    assigned = found.assign_vectors(blobbed.of("which"))
    assert [one.cluster for one in assigned] == list(found.labels.values())
    assert [one.name for one in assigned] == [found.name(k) for k in found.labels.values()]
    assert all(one.margin >= 0 for one in assigned)


def test_what_is_near_no_dense_cluster_is_noise() -> None:
    draw = np.random.default_rng(3).standard_normal((12, 32))
    lone = (draw / np.linalg.norm(draw, axis=1, keepdims=True)).astype(np.float32)
    dense = cluster(corpus_of(np.concatenate([blobs(), lone])), "which", method="hdbscan")
    far = np.eye(32, dtype=np.float32)[[0, 20]]
    assert [one.cluster for one in dense.assign_vectors(far)] == [0, -1]


def test_new_messages_go_where_their_answers_are(demo: Corpus) -> None:
    found = cluster(demo, "product", k=5)
    texts = ["My bicycle has a flat tyre.", "The espresso tastes burnt.", "My rucksack tore."]
    bike, coffee, bag = found.assign(texts, demo.embedder)
    assert "bicycle" in bike.name
    assert "coffee" in coffee.name
    assert "backpack" in bag.name


def test_another_model_is_refused(found: Clusters) -> None:
    with pytest.raises(ModelMismatch, match="cluster anew"):
        found.assign(["a text"], FakeEmbedder(seed=1))
    assert len(found.assign(["a text"], FakeEmbedder())) == 1


@pytest.mark.parametrize("vectors", [[[1.0, 2.0]], [[]], [[float("nan")] * 32]])
def test_unusable_vectors_are_refused(found: Clusters, vectors: list[list[float]]) -> None:
    with pytest.raises(InputError, match=r"wanted \(N, 32\)"):
        found.assign_vectors(vectors)


def test_words_are_those_of_a_cluster(found: Clusters) -> None:
    assert [word.word for word in found.words(0, top=1)] == ["component0"]
    assert [word.word for word in found.words(2, top=1)] == ["component2"]
    with pytest.raises(InputError, match="numbered 0 to 2"):
        found.words(3)


def test_a_view_without_a_question_is_named_by_its_terms(blobbed: Corpus) -> None:
    documents = demo_documents()[:60]
    corpus = embed_corpus(documents, DEMO_VIEWS["general"], FakeEmbedder())
    found = cluster(corpus, "general", k=2)
    assert all(one.words == [] and one.typical for one in found.clusters)
    assert found.words(0) == found.clusters[0].typical[:5]
