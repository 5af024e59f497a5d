"""Embeddings: what comes of texts under views, and what makes them.

A collection needs no more of an embedder than stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inbedder_retrieval.documents import AnswerWord
from inbedder_retrieval.errors import ModelError
from inbedder_retrieval.views import ViewsLike

__all__ = ["Embeddings", "OnLong", "TextEmbedder", "check_finite"]

OnLong: TypeAlias = Literal["cut", "error"]


class Embeddings(dict[str, NDArray[np.float32]]):
    """Unit vectors (N, H) by view name, in the order of the texts.

    Attributes:
        truncated: indices of the texts that were longer than the model reads and were cut.
        empty: indices of the texts that hold nothing but white space. They are embedded like any
            other: their vector is the answer the model expects when it knows nothing.
    """

    def __init__(
        self,
        vectors: dict[str, NDArray[np.float32]],
        *,
        truncated: Sequence[int] = (),
        empty: Sequence[int] = (),
    ) -> None:
        super().__init__(vectors)
        self.truncated = list(truncated)
        self.empty = list(empty)


class TextEmbedder(Protocol):
    """What a collection needs of an embedder; `Embedder` and `testing.FakeEmbedder` are two."""

    @property
    def name(self) -> str:
        """What finds the model again: a packaged or hub name, or an absolute path."""
        ...

    @property
    def dimension(self) -> int:
        """H, the width of a vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Equal for models whose vectors may be compared."""
        ...

    def embed(self, texts: Iterable[str], views: ViewsLike) -> Embeddings:
        """Embed texts under views, as `Embedder.embed` does."""
        ...

    def embed_answers(self, answers: Iterable[str], views: ViewsLike) -> Embeddings:
        """Embed expected answers, to search views by, as `Embedder.embed_answers` does."""
        ...

    def explain(self, vectors: ArrayLike, *, top: int = 5) -> list[list[AnswerWord]]:
        """Read vectors (N, H) as words, as `Embedder.explain` does."""
        ...


def check_finite(embeddings: Embeddings, model: str) -> None:
    """Raise ModelError where a model gave vectors that are no numbers, before they are stored."""
    for name, vectors in embeddings.items():
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"{model} gave vectors of view {name!r} that are not finite numbers; "
                "nothing of this batch was written"
            )
