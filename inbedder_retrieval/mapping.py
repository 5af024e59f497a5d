"""Mapping: unit vectors of a view become places on a plane, near ones near each other.

t-SNE with interpolation (FIt-SNE, Linderman et al., Nature Methods 2019), on the first principal
components and from their first two, so that what is far apart in the large stays so. openTSNE takes
time in proportion to the documents, where scikit-learn's own takes twice as long for 5,000 and does
not come to 100,000; umap-learn would bring a compiler (numba). Fewer than a dozen different
documents are laid out by their two principal components.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.errors import InputError, MissingExtraError

__all__ = ["layout"]

COMPONENTS = 50
FEW = 12
SMALL = 2_000
PERPLEXITY = 30
# Of the two phases of t-SNE.
EXAGGERATED, ITERATIONS = 150, 350


def layout(
    vectors: NDArray[np.float32], *, seed: int = 0, like: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return places (N, 2), 0 to 1, of unit vectors (N, H); both axes have one scale.

    Args:
        seed: the same gives the same map, on the same machine.
        like: another map (N, 2) of the same documents. The new one is turned, or mirrored, so that
            documents move as little as they can between the two.

    Raises:
        InputError: the vectors are no such array, or not all finite.
        MissingExtraError: openTSNE or scikit-learn is not installed.
    """
    if vectors.ndim != 2 or not len(vectors) or not np.isfinite(vectors).all():
        raise InputError(
            f"vectors to map have the shape {vectors.shape}; wanted (N, H) of finite numbers"
        )
    try:
        from openTSNE import TSNE
        from sklearn.decomposition import PCA
    except ImportError as error:
        raise MissingExtraError("maps", "cluster") from error
    centred = vectors - vectors.mean(axis=0)
    different = len({row.tobytes() for row in vectors})
    if different < 2:
        return np.full((len(vectors), 2), 0.5, dtype=np.float32)
    components = min(COMPONENTS, *centred.shape)
    pca = PCA(components, svd_solver="randomized", random_state=seed)
    reduced = np.asarray(pca.fit_transform(centred), dtype=np.float64)
    if different < FEW or components < 2:
        places = np.zeros((len(vectors), 2))
        places[:, : min(2, components)] = reduced[:, :2]
    else:
        # On few, threads wait for each other longer than they work.
        threads = 1 if len(vectors) <= SMALL else _processors()
        tsne = TSNE(
            perplexity=min(PERPLEXITY, (different - 1) / 3),
            initialization=reduced[:, :2] / np.std(reduced[:, 0]) * 1e-4,
            early_exaggeration_iter=EXAGGERATED,
            n_iter=ITERATIONS,
            # The exact neighbours of few; of many, those that a forest finds.
            neighbors="exact" if len(vectors) <= 5_000 else "annoy",
            negative_gradient_method="bh" if len(vectors) <= SMALL else "fft",
            n_jobs=threads,
            random_state=seed,
        )
        places = np.asarray(tsne.fit(reduced))
    if like is not None:
        places = _turned(places, like)
    return _framed(places)


def _processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else -1


def _turned(places: NDArray[np.float64], like: NDArray[np.float32]) -> NDArray[np.float64]:
    """Turn and mirror places so that they come nearest to others (orthogonal Procrustes)."""
    places = places - places.mean(axis=0)
    left, _, right = np.linalg.svd(places.T @ (like - like.mean(axis=0)))
    turned: NDArray[np.float64] = places @ (left @ right)
    return turned


def _framed(places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Fit places into the unit square, in the middle of it."""
    low, high = places.min(axis=0), places.max(axis=0)
    scale = float((high - low).max())
    if scale <= 0:
        return np.full(places.shape, 0.5, dtype=np.float32)
    return np.asarray((places - (low + high) / 2) / scale + 0.5, dtype=np.float32)
