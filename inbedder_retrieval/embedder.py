"""Embedder: texts under views become unit vectors.

It joins a checkpoint, a packer and a backend, and knows nothing of storage. One forward pass
serves all views of a text.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inbedder_retrieval.backends import load_backend
from inbedder_retrieval.checkpoint import DEFAULT_MODEL, find_checkpoint
from inbedder_retrieval.documents import AnswerWord
from inbedder_retrieval.errors import InputError, TextError
from inbedder_retrieval.explain import WordHead
from inbedder_retrieval.packing import Packer
from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.views import Views, ViewsLike

__all__ = ["Embedder", "Embeddings", "OnLong", "TextEmbedder"]

# Measured with `python -m inbedder_retrieval.bench` on two cores: larger batches are no faster
# and hold more memory.
TOKEN_BUDGET = 1024
BATCH_SIZE = 512

OnLong: TypeAlias = Literal["cut", "error"]
Progress: TypeAlias = Callable[[int], None]


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

    def embed(
        self, texts: Iterable[str], views: ViewsLike, *, on_long: OnLong = "cut"
    ) -> Embeddings:
        """Embed texts under views, as `Embedder.embed` does."""
        ...

    def explain(self, vectors: ArrayLike, *, top: int = 5) -> list[list[AnswerWord]]:
        """Read vectors (N, H) as words, as `Embedder.explain` does."""
        ...


class Embedder:
    """An instruction-following text embedder.

    Args:
        model: a packaged model's name, a folder, or owner/name on the Hugging Face hub.
        backend: `onnx` runs `model.onnx` (int8); `torch` runs the weights in float32.
        device: `cpu`, or what the backend calls an accelerator.
        threads: CPU threads for one batch; None lets the backend choose.

    Raises:
        CheckpointError: there is no such model, or its files do not fit each other.
        MissingExtraError: the backend's packages are not installed.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        backend: Literal["onnx", "torch"] = "onnx",
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self._checkpoint = find_checkpoint(model)
        self._packer = Packer(self._checkpoint.tokenizer(), self._checkpoint.recipe)
        self._backend = load_backend(backend, self._checkpoint, device=device, threads=threads)

    @property
    def name(self) -> str:
        """What finds the model again: a packaged or hub name, or an absolute path."""
        return self._checkpoint.name

    @property
    def recipe(self) -> Recipe:
        return self._checkpoint.recipe

    @property
    def dimension(self) -> int:
        """H, the width of a vector."""
        return self._checkpoint.dimension

    @property
    def fingerprint(self) -> str:
        """Equal for models whose vectors may be compared: the same weights and recipe."""
        return self._checkpoint.fingerprint

    def embed(
        self,
        texts: Iterable[str],
        views: ViewsLike,
        *,
        token_budget: int = TOKEN_BUDGET,
        on_long: OnLong = "cut",
        progress: Progress | None = None,
    ) -> Embeddings:
        """Embed texts under views.

        Args:
            texts: any iterable of N strings.
            views: a View, several, or a mapping of names to questions.
            token_budget: tokens in one batch, padding included; bounds memory, not quality.
            on_long: what to do with a text longer than the model reads: `cut` it and say so in
                `truncated`, or raise an `error`.
            progress: called with the number of texts done so far.

        Returns:
            For every view name a float32 array (N, H) of unit vectors, in the texts' order.

        Raises:
            TextError: a text is no string, holds a lone surrogate, or is too long with
                `on_long="error"`.
            ViewError: the views are unusable, or a question is too long for the model.
        """
        if isinstance(texts, str):
            raise TextError("one string was given for the texts; give a list of strings")
        views = Views.of(views)
        done = 0
        truncated: list[int] = []
        empty: list[int] = []
        parts: list[Embeddings] = []
        batches = self.embed_batches(texts, views, token_budget=token_budget, on_long=on_long)
        for part in batches:
            truncated += [done + index for index in part.truncated]
            empty += [done + index for index in part.empty]
            parts.append(part)
            done += len(part[views.names[0]])
            if progress is not None:
                progress(done)
        nothing = np.zeros((0, self.dimension), dtype=np.float32)
        vectors = {
            name: np.concatenate([part[name] for part in parts]) if parts else nothing.copy()
            for name in views.names
        }
        return Embeddings(vectors, truncated=truncated, empty=empty)

    def embed_batches(
        self,
        texts: Iterable[str],
        views: ViewsLike,
        *,
        batch_size: int = BATCH_SIZE,
        token_budget: int = TOKEN_BUDGET,
        on_long: OnLong = "cut",
    ) -> Iterator[Embeddings]:
        """Embed a stream of texts, `batch_size` at a time, holding no more than one batch.

        Yields what `embed` returns for each run of `batch_size` texts, in order; indices in
        `truncated` and `empty` count from the batch's first text. Raises what `embed` raises,
        naming a text by its place in the stream.
        """
        if batch_size < 1 or token_budget < 1:
            raise InputError(
                f"batch_size is {batch_size} and token_budget {token_budget}; both must be positive"
            )
        if on_long not in ("cut", "error"):
            raise InputError(f"on_long is {on_long!r}; choose 'cut' or 'error'")
        views = Views.of(views)
        questions = self._packer.questions(views)
        stream = iter(texts)
        for start in itertools.count(0, batch_size):
            batch = list(itertools.islice(stream, batch_size))
            if not batch:
                return
            tokenized = self._packer.tokenize(batch, first=start)
            if tokenized.truncated and on_long == "error":
                first = tokenized.truncated[0]
                raise TextError(
                    f"text {start + first} has more than the {self.recipe.max_text_tokens} word "
                    f"pieces that {self.recipe.name} reads (it begins {batch[first][:40]!r}); "
                    "split it, or use on_long='cut'"
                )
            vectors = np.empty((len(batch), len(views), self.dimension), dtype=np.float32)
            for packed in self._packer.batches(tokenized, questions, token_budget):
                vectors[packed.rows] = self._backend.run(packed)
            vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
            yield Embeddings(
                {name: vectors[:, number].copy() for number, name in enumerate(views.names)},
                truncated=tokenized.truncated,
                empty=[index for index, text in enumerate(batch) if not text.strip()],
            )

    def explain(self, vectors: ArrayLike, *, top: int = 5) -> list[list[AnswerWord]]:
        """Read vectors (N, H) of a question's view, or means of some, as answer words.

        Returns a list of at most `top` words for each vector, heaviest first (see `WordHead`).

        Raises:
            CheckpointError: this model's vectors cannot be read as words.
            InputError: the array is not (N, H) of finite numbers.
        """
        return self._word_head.words(vectors, top=top)

    @cached_property
    def _word_head(self) -> WordHead:
        return WordHead(self._checkpoint)
