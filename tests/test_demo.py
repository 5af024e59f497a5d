from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import v_measure_score

from inbedder_retrieval import Document, Embedder, ViewCollection
from inbedder_retrieval.cli import main
from inbedder_retrieval.demo import (
    DEMO_QUERY,
    DEMO_VIEWS,
    LABELS,
    demo_documents,
    neighbours_sharing,
)
from inbedder_retrieval.testing import FakeEmbedder

NAMES = ["general", *LABELS]


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return demo_documents()


@pytest.fixture(scope="module")
def vectors(packaged: Embedder, documents: list[Document]) -> dict[str, NDArray[np.float32]]:
    return packaged.embed([document.text for document in documents], DEMO_VIEWS)


def labels_of(documents: list[Document], label: str) -> list[str]:
    return [document.metadata[label] for document in documents]


def brute_force(
    vectors: NDArray[np.float32], documents: list[Document], neighbours: int
) -> dict[str, float]:
    """Return the share of near neighbours with the same label, one text at a time."""
    shared: Counter[str] = Counter()
    for row, document in enumerate(documents):
        cosines = vectors @ vectors[row]
        others = [other for other in range(len(documents)) if other != row]
        others.sort(key=lambda other: -float(cosines[other]))
        for other in others[:neighbours]:
            for label in LABELS:
                shared[label] += documents[other].metadata[label] == document.metadata[label]
    return {label: shared[label] / (len(documents) * neighbours) for label in LABELS}


def test_every_combination_of_labels_occurs_three_times(documents: list[Document]) -> None:
    counts = Counter(tuple(document.metadata[label] for label in LABELS) for document in documents)
    assert len(documents) == 375
    assert len(counts) == 5 * 5 * 5
    assert set(counts.values()) == {3}
    for label in LABELS:
        assert set(Counter(labels_of(documents, label)).values()) == {75}


def test_no_text_or_id_of_the_corpus_occurs_twice(documents: list[Document]) -> None:
    assert len({document.id for document in documents}) == 375
    assert len({" ".join(document.text.lower().split()) for document in documents}) == 375
    assert all(document.text == document.text.strip() != "" for document in documents)


def test_no_text_of_the_corpus_is_cut(packaged: Embedder, documents: list[Document]) -> None:
    texts = [document.text for document in documents]
    longest = sorted(texts, key=len)[-40:]
    assert not packaged.embed(longest, DEMO_VIEWS["general"]).truncated


@pytest.mark.parametrize("neighbours", [1, 3, 20])
def test_neighbours_sharing_is_what_brute_force_counts(neighbours: int) -> None:
    words = ["red", "green", "blue", "round", "flat", "tall", "loud", "soft", "warm", "cold"]
    documents = [
        Document(
            f"{words[k % 10]} {words[k * 7 % 9]} thing{k}",
            metadata={"product": k % 2, "feeling": k % 3, "need": k % 5},
        )
        for k in range(30)
    ]
    vectors = FakeEmbedder().embed([document.text for document in documents], DEMO_VIEWS)
    found = neighbours_sharing(vectors, documents, neighbours=neighbours)
    assert list(found) == NAMES
    for name in NAMES:
        assert found[name] == pytest.approx(brute_force(vectors[name], documents, neighbours))


def test_a_document_is_no_neighbour_of_its_own() -> None:
    documents = [Document(f"text {k}", metadata=dict.fromkeys(LABELS, str(k))) for k in range(4)]
    vectors = FakeEmbedder().embed([document.text for document in documents], DEMO_VIEWS)
    found = neighbours_sharing(vectors, documents)
    assert found["product"]["product"] == 0.0


def test_a_question_clusters_by_its_own_label_best(
    vectors: dict[str, NDArray[np.float32]], documents: list[Document]
) -> None:
    """V-measure of 5 clusters of centred unit vectors, the mean of 5 seeds."""
    measured: dict[str, dict[str, float]] = {}
    for name in NAMES:
        centred = vectors[name] - vectors[name].mean(axis=0)
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
        clusters = [
            MiniBatchKMeans(5, random_state=seed, batch_size=500, n_init=3).fit_predict(centred)
            for seed in range(5)
        ]
        measured[name] = {
            label: float(
                np.mean([v_measure_score(labels_of(documents, label), one) for one in clusters])
            )
            for label in LABELS
        }
    rows = [[f"{100 * measured[name][label]:8.1f}" for label in LABELS] for name in NAMES]
    lines = ["".join(f"{label:>8}" for label in ("V", *LABELS))]
    lines += [f"{name:>8}{''.join(row)}" for name, row in zip(NAMES, rows, strict=True)]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    for label in LABELS:
        others = [measured[name][label] for name in NAMES if name != label]
        assert measured[label][label] > max(others), label


def test_the_demo_shows_four_views_and_what_they_are_worth(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    vectors: dict[str, NDArray[np.float32]],
    documents: list[Document],
) -> None:
    assert main(["demo", "--to", str(tmp_path / "demo.inb")]) == 0
    shown = capsys.readouterr().out
    assert "375 customer messages under 4 views" in shown
    assert DEMO_QUERY in shown
    for view in DEMO_VIEWS:
        heading = " ".join(filter(None, [view.name, view.instruction]))
        assert re.search(rf"^{re.escape(heading)}$", shown, re.M)
    assert len(re.findall(r"^ \d\.\d{3}  \w", shown, re.M)) == 4 * 3
    for name in NAMES:
        [row] = re.findall(rf"^{name} +(\d+)% +(\d+)% +(\d+)% *$", shown, re.M)
        shares = brute_force(vectors[name], documents, 10)
        assert [int(percent) for percent in row] == [
            pytest.approx(100 * shares[label], abs=0.51) for label in LABELS
        ]
    with ViewCollection.open(tmp_path / "demo.inb") as kept:
        assert kept.views == DEMO_VIEWS
        assert kept.count() == 375


def test_the_demo_tells_machines_the_same(
    capsys: pytest.CaptureFixture[str], vectors: dict[str, NDArray[np.float32]]
) -> None:
    assert main(["demo", "--query", "my lamp is late", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["documents"] == 375
    assert shown["views"] == {view.name: view.instruction for view in DEMO_VIEWS}
    assert shown["query"] == "my lamp is late"
    assert shown["seconds"] > 0
    assert {name: len(hits) for name, hits in shown["hits"].items()} == dict.fromkeys(NAMES, 3)
    expected = neighbours_sharing(vectors, demo_documents())
    for name in NAMES:
        assert shown["shares"][name] == pytest.approx(expected[name], abs=1e-3)
