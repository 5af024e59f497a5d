"""A fake embedder for tests of code that uses this package: deterministic, no weights to load."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inbedder_retrieval.answers import check_answers
from inbedder_retrieval.documents import AnswerWord, lone_surrogate
from inbedder_retrieval.embeddings import Embeddings
from inbedder_retrieval.errors import TextError
from inbedder_retrieval.texts import check_several
from inbedder_retrieval.views import Views, ViewsLike

__all__ = ["FakeEmbedder"]


class FakeEmbedder:
    """Embeds a text as the sum of one pseudo-random vector for each (question, word).

    So texts that share words are near each other, equal texts are equal, and every question has a
    space of its own. `texts_seen` counts the texts embedded so far.

    Args:
        dimension: the width of a vector.
        seed: two fakes with different seeds have different fingerprints, like two models.
    """

    def __init__(self, *, dimension: int = 32, seed: int = 0) -> None:
        self._dimension = dimension
        self._seed = seed
        self.texts_seen = 0

    @property
    def name(self) -> str:
        """The name or path the model was loaded by."""
        return "fake"

    @property
    def dimension(self) -> int:
        """H, the width of a vector."""
        return self._dimension

    @property
    def fingerprint(self) -> str:
        """Equal for fakes whose vectors may be compared."""
        return f"fake-{self._seed}-{self._dimension}"

    def embed(self, texts: Iterable[str], views: ViewsLike) -> Embeddings:
        """Embed texts under views; no text is ever too long."""
        check_several(texts)
        views = Views.of(views)
        texts = list(texts)
        for index, text in enumerate(texts):
            if not isinstance(text, str) or lone_surrogate(text):
                raise TextError(f"text {index} is not a string of Unicode characters")
        self.texts_seen += len(texts)
        vectors = {
            view.name: np.stack([self._vector(view.instruction or "", text) for text in texts])
            if texts
            else np.zeros((0, self._dimension), dtype=np.float32)
            for view in views
        }
        empty = [index for index, text in enumerate(texts) if not text.strip()]
        return Embeddings(vectors, empty=empty)

    def embed_answers(self, answers: Iterable[str], views: ViewsLike) -> Embeddings:
        """Embed expected answers as texts under the views: near are the texts that hold them."""
        return self.embed(check_answers(answers), views)

    def explain(self, vectors: ArrayLike, *, top: int = 5) -> list[list[AnswerWord]]:
        """Name the heaviest components of each vector, as words that mean nothing."""
        shares = np.square(np.asarray(vectors, dtype=np.float32))
        return [
            [
                AnswerWord(word=f"component{k}", weight=float(row[k]))
                for k in np.argsort(-row, kind="stable")[:top]
            ]
            for row in shares
        ]

    def _vector(self, instruction: str, text: str) -> NDArray[np.float32]:
        total = np.zeros(self._dimension)
        for word in text.lower().split() or [""]:
            key = f"{self._seed}\n{instruction}\n{word}".encode()
            seed = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
            total += np.random.default_rng(seed).standard_normal(self._dimension)
        return (total / np.linalg.norm(total)).astype(np.float32)
