"""The demo corpus under its views, and blobs of known places."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from inbedder_retrieval import Document, Embedder, Views
from inbedder_retrieval.corpus import Corpus, embed_corpus
from inbedder_retrieval.demo import DEMO_VIEWS, demo_documents
from inbedder_retrieval.testing import FakeEmbedder

SIZES = (40, 30, 20)


@pytest.fixture(scope="session")
def demo(packaged: Embedder) -> Corpus:
    """The 375 messages. Only read it."""
    return embed_corpus(demo_documents(), DEMO_VIEWS, packaged)


def blobs(sizes: tuple[int, ...] = SIZES, *, spread: float = 0.3) -> NDArray[np.float32]:
    """Unit vectors around as many axes of 32 as there are sizes, in order."""
    draw = np.random.default_rng(7)
    rows = [
        np.eye(32)[place] + spread * draw.standard_normal((size, 32)) / 32**0.5
        for place, size in enumerate(sizes)
    ]
    vectors = np.concatenate(rows)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def corpus_of(vectors: NDArray[np.float32], question: str | None = "Which one?") -> Corpus:
    """Documents d000, d001, ... with these vectors under one view."""
    name = "general" if question is None else "which"
    documents = [
        Document(f"text about thing{k % 3} number {k}", id=f"d{k:03d}") for k in range(len(vectors))
    ]
    return Corpus(documents, Views.of({name: question}), {name: vectors}, FakeEmbedder())


@pytest.fixture(scope="session")
def blobbed() -> Corpus:
    """Three groups of 40, 30 and 20 documents around the first three axes, in the view `which`."""
    return corpus_of(blobs())
