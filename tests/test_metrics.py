from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, ndcg_score, v_measure_score
from sklearn.metrics.cluster import contingency_matrix

from inbedder_retrieval.errors import InputError
from inbedder_retrieval.metrics import (
    average_precision,
    contingency,
    harmonic_mean,
    ndcg,
    recall,
    reciprocal_rank,
    spearman,
    success_rate,
    v_measure,
)

NUMBERS = st.integers(-3, 3).map(lambda number: number / 2)
LABELS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 4)), min_size=1, max_size=40)


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.float64, st.tuples(st.just(2), st.integers(3, 20)), elements=NUMBERS))
def test_spearman_is_scipys_with_ties(
    pair: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> None:
    if min(len(set(row)) for row in pair.tolist()) < 2:
        assert spearman(pair[0], pair[1]) == 0
    else:
        expected = spearmanr(pair[0], pair[1]).statistic
        assert spearman(pair[0], pair[1]) == pytest.approx(expected, abs=1e-12)


def test_spearman_of_a_hand_computed_case() -> None:
    # Ranks 1 2 3 4 and 1 3 2 4: 1 - 6 (0 + 1 + 1 + 0) / (4 * 15).
    assert spearman([10, 20, 30, 40], [0.1, 0.3, 0.2, 0.9]) == pytest.approx(0.8)


@settings(max_examples=50, deadline=None)
@given(LABELS)
def test_the_v_measure_is_scikit_learns(pairs: list[tuple[str, int]]) -> None:
    labels, clusters = [a for a, _ in pairs], [b for _, b in pairs]
    expected = v_measure_score(labels, clusters)
    assert v_measure(labels, clusters) == pytest.approx(expected, abs=1e-9)
    assert (contingency(labels, clusters) == contingency_matrix(labels, clusters)).all()


def test_the_v_measure_of_a_hand_computed_case() -> None:
    # Homogeneous, and label a lies in two clusters: completeness is ln 2 / (1.5 ln 2).
    assert v_measure("aabb", [0, 1, 2, 2]) == pytest.approx(2 * (2 / 3) / (1 + 2 / 3))
    assert v_measure("aabb", [0, 1, 0, 1]) == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=30), st.integers(1, 12))
def test_the_gain_of_a_ranking_is_scikit_learns(gains: list[int], depth: int) -> None:
    order = np.arange(len(gains), 0, -1)[None]
    expected = ndcg_score([gains], order, k=depth) if any(gains) else 0
    assert ndcg(gains, gains, depth) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30).filter(any))
def test_average_precision_is_scikit_learns(relevant: list[bool]) -> None:
    order = np.arange(len(relevant), 0, -1)
    expected = average_precision_score(relevant, order)
    assert average_precision(relevant, sum(relevant)) == pytest.approx(expected, abs=1e-12)


def test_measures_of_a_ranking_by_hand() -> None:
    # Relevant at ranks 2 and 4, of three that are.
    relevant = [False, True, False, True]
    assert average_precision(relevant, 3) == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert recall(relevant, 3, 3) == pytest.approx(1 / 3)
    assert reciprocal_rank(relevant) == 0.5
    assert reciprocal_rank([False]) == 0
    assert ndcg([0, 1, 0, 1], [1, 1, 1], 2) == pytest.approx(
        (1 / math.log2(3)) / (1 + 1 / math.log2(3))
    )


def test_nothing_relevant_is_a_score_of_nothing() -> None:
    assert (ndcg([0], [0], 5), average_precision([False], 0), recall([False], 0, 5)) == (0, 0, 0)


def test_a_tie_is_no_success() -> None:
    x, y = [1.0, 0.0], [0.0, 1.0]
    assert success_rate([x, x, x], [x, y, y], [y, x, y]) == pytest.approx(1 / 3)


def test_the_harmonic_mean_of_two_and_of_nothing() -> None:
    assert harmonic_mean([0.5, 0.25]) == pytest.approx(1 / 3)
    assert harmonic_mean([0.9, 0.0]) == 0


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match="same length"):
        spearman([1, 2], [1, 2, 3])
    with pytest.raises(InputError, match="1 labels and 2"):
        v_measure(["a"], [0, 1])
    with pytest.raises(InputError, match="shares from 0"):
        harmonic_mean([-0.1])
    with pytest.raises(InputError, match="1 anchors"):
        success_rate([[1.0]], [[1.0]], np.zeros((0, 1)))
