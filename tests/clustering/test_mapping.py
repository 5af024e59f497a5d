"""Maps: near vectors are near each other, and nothing is no number."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from inbedder_retrieval import InputError
from inbedder_retrieval.corpus import Corpus
from inbedder_retrieval.mapping import layout
from tests.clustering.conftest import blobs


def test_neighbours_stay_neighbours_and_the_same_seed_gives_the_same_map(demo: Corpus) -> None:
    vectors = demo.of("product")
    places = layout(vectors)
    assert places.shape == (375, 2)
    assert places.min() >= 0
    assert places.max() <= 1
    assert trustworthiness(vectors, places, n_neighbors=10, metric="cosine") > 0.85
    np.testing.assert_array_equal(places, layout(vectors))


def test_a_map_like_another_is_that_map_however_it_was_turned(demo: Corpus) -> None:
    vectors = demo.of("need")
    places = layout(vectors)
    turned = np.stack([1 - places[:, 1], places[:, 0]], axis=1)
    again = layout(vectors, like=turned)
    np.testing.assert_allclose(again, turned, atol=1e-3)


def test_many_documents_are_mapped_by_interpolation() -> None:
    vectors = blobs((1_200, 900, 400))
    places = layout(vectors)
    assert np.isfinite(places).all()
    middles = [
        np.median(places[start:stop], axis=0) for start, stop in ((0, 1_200), (1_200, 2_100))
    ]
    assert np.linalg.norm(middles[0] - middles[1]) > 0.2


@pytest.mark.parametrize("count", [1, 2, 3, 5, 11, 12, 13, 40])
def test_few_documents_have_places(count: int) -> None:
    places = layout(blobs((count,)))
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()


@pytest.mark.parametrize("different", [1, 2, 13])
def test_equal_documents_have_places(different: int) -> None:
    vectors = np.repeat(blobs((different,)), 60, axis=0)
    places = layout(vectors)
    assert np.isfinite(places).all()
    assert places.min() >= 0
    assert places.max() <= 1


@pytest.mark.parametrize("vectors", [np.zeros((0, 3)), np.zeros(3), np.full((2, 3), np.nan)])
def test_unusable_vectors_are_refused(vectors: NDArray[np.float64]) -> None:
    with pytest.raises(InputError, match=r"wanted \(N, H\)"):
        layout(vectors.astype(np.float32))
