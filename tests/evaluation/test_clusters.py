from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import v_measure_score
from threadpoolctl import threadpool_limits

from inbedder_retrieval.documents import AnswerWord
from inbedder_retrieval.errors import InputError, MissingExtraError
from inbedder_retrieval.evaluation.clusters import Protocol, cluster, confusion, spread_of
from inbedder_retrieval.evaluation.contenders import Contender, Vectors

DRAW = np.random.default_rng(3)
CENTRES = DRAW.standard_normal((4, 8))
LABELS = [f"l{k % 4}" for k in range(120)]
NOISY: Vectors = np.stack([CENTRES[k % 4] + DRAW.standard_normal(8) for k in range(120)]).astype(
    np.float32
)
NOISY /= np.linalg.norm(NOISY, axis=1, keepdims=True)


@pytest.mark.parametrize("centred", [False, True])
def test_clusters_are_those_of_the_published_protocol(centred: bool) -> None:
    vectors = NOISY
    if centred:
        vectors = NOISY - NOISY.mean(axis=0)
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    with threadpool_limits(1):
        fits = [
            MiniBatchKMeans(4, batch_size=500, n_init="auto", random_state=seed).fit(vectors)
            for seed in range(10)
        ]
    expected = [v_measure_score(LABELS, fit.labels_) for fit in fits]
    spread = spread_of(LABELS, cluster(NOISY, 4, Protocol(centred=centred)))
    assert spread.values == pytest.approx(expected)
    assert spread.mean == pytest.approx(np.mean(expected))
    assert spread.deviation == pytest.approx(np.std(expected))
    assert spread.deviation > 0


def test_the_protocol_says_what_it_is() -> None:
    assert str(Protocol()) == (
        "MiniBatchKMeans of unit vectors, batch 500, starts auto, mean over seeds 0 to 9"
    )
    assert str(Protocol(seeds=1, centred=True, starts=3)) == (
        "MiniBatchKMeans of centred unit vectors, batch 500, starts 3, seed 0"
    )
    with pytest.raises(InputError, match="0 seeds"):
        Protocol(seeds=0)


def test_a_confusion_counts_labels_in_clusters_and_reads_their_means() -> None:
    vectors = np.repeat(np.eye(3, dtype=np.float32), [3, 2, 1], axis=0)
    fit = np.array([7, 7, 7, 2, 2, 5])
    labels = ["b", "b", "a", "a", "a", "c"]

    def explain(means: object, background: object) -> list[list[AnswerWord]]:
        everything = np.array([3, 2, 1]) / 14**0.5
        np.testing.assert_allclose(np.asarray(background), everything, rtol=1e-6)
        return [[AnswerWord(word=f"w{np.argmax(mean)}", weight=1)] for mean in np.asarray(means)]

    contender = Contender("m", "m", True, lambda texts, questions: vectors, explain)
    found = confusion("t", "x", contender, "Why?", labels, vectors, fit)
    assert found is not None
    assert found.labels == ["a", "b", "c"]
    # Cluster 2 holds a, cluster 7 mostly b, cluster 5 c.
    assert found.counts == [[2, 1, 0], [0, 2, 0], [0, 0, 1]]
    assert found.words == [["w1"], ["w0"], ["w2"]]
    assert (found.instruction, found.contender) == ("Why?", "m")


def test_more_labels_than_a_picture_holds_are_not_drawn() -> None:
    labels = [str(k) for k in range(50)]
    contender = Contender("m", "m", True, lambda texts, questions: NOISY)
    fit = np.arange(50)
    assert confusion("t", "", contender, None, labels, NOISY[:50], fit) is None


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingExtraError, match=r"inbedder-retrieval\[eval\]"):
        cluster(NOISY, 4, Protocol())
