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

from inbedder_retrieval.backends import Generator, load_backend
from inbedder_retrieval.checkpoint import DEFAULT_MODEL, find_checkpoint
from inbedder_retrieval.documents import AnswerWord
from inbedder_retrieval.errors import InputError, TextError
from inbedder_retrieval.explain import WordHead
from inbedder_retrieval.packing import PackedBatch, Packer, QuestionBlock, check_several
from inbedder_retrieval.prompting import Prompter
from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.views import GENERAL, View, Views, ViewsLike

__all__ = ["Embedder", "Embeddings", "OnLong", "TextEmbedder"]

# Measured with `python -m inbedder_retrieval.bench` on two cores: larger batches are no faster
# and hold more memory.
TOKEN_BUDGET = 1024
BATCH_SIZE = 512
ANSWER_BATCH = 64

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

    def embed(self, texts: Iterable[str], views: ViewsLike) -> Embeddings:
        """Embed texts under views, as `Embedder.embed` does."""
        ...

    def explain(self, vectors: ArrayLike, *, top: int = 5) -> list[list[AnswerWord]]:
        """Read vectors (N, H) as words, as `Embedder.explain` does."""
        ...


class Embedder:
    """An instruction-following text embedder.

    Args:
        model: a packaged model's name, a folder, or owner/name on the Hugging Face hub.
        backend: `onnx` runs `model.onnx` (int8); `torch` runs the weights in float32. None takes
            `onnx` where there is such a file.
        recipe: how to prompt and pool, instead of what the checkpoint brings.
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
        backend: Literal["onnx", "torch"] | None = None,
        recipe: Recipe | None = None,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self._checkpoint = find_checkpoint(model, recipe)
        tokenizer = self._checkpoint.tokenizer()
        self._tokenizer = tokenizer
        recipe = self._checkpoint.recipe
        self._packer = Packer(tokenizer, recipe) if recipe.attention == "prefix" else None
        self._prompter = Prompter(tokenizer, recipe) if self._packer is None else None
        self._backend = load_backend(
            backend or ("onnx" if self._checkpoint.has_onnx else "torch"),
            self._checkpoint,
            device=device,
            threads=threads,
        )
        self._re_encoder = Embedder(recipe.re_encoder) if recipe.re_encoder else None

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
        return (self._re_encoder or self._checkpoint).dimension

    @property
    def fingerprint(self) -> str:
        """Equal for models whose vectors may be compared: the same weights and recipe."""
        own = self._checkpoint.fingerprint
        return f"{own}-{self._re_encoder.fingerprint}" if self._re_encoder else own

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
        check_several(texts)
        views = Views.of(views)
        questions = self._questions(views)
        stream = iter(texts)
        for start in itertools.count(0, batch_size):
            batch = list(itertools.islice(stream, batch_size))
            if not batch:
                return
            vectors, truncated = self._vectors(batch, views, questions, start, token_budget)
            if truncated and on_long == "error":
                raise TextError(
                    f"text {start + truncated[0]} is longer than {self.recipe.name} reads "
                    f"(it begins {batch[truncated[0]][:40]!r}); split it, or use on_long='cut'"
                )
            if self.recipe.standardize:
                vectors -= vectors.mean(axis=-1, keepdims=True)
                vectors /= vectors.std(axis=-1, keepdims=True)
            vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
            yield Embeddings(
                {name: vectors[:, number].copy() for number, name in enumerate(views.names)},
                truncated=truncated,
                empty=[index for index, text in enumerate(batch) if not text.strip()],
            )

    def answer(
        self,
        texts: Iterable[str],
        view: View,
        *,
        max_new_tokens: int | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """Answer a view's question about each text, in the model's own words.

        A causal or sequence-to-sequence model generates, taking the likeliest token each time; a
        masked model fills its answer slots, each with its likeliest piece.

        Args:
            max_new_tokens: how long a generated answer may be; None takes the recipe's length.
            progress: called with the number of texts done so far.

        Raises:
            InputError: the view is general, or the model can neither generate nor fill a mask.
            TextError, ViewError: as `embed`.
        """
        if view.instruction is None:
            raise InputError("the general view asks nothing, so it has no answer; give a question")
        views = Views([view])
        questions = self._questions(views)
        check_several(texts)
        new_tokens = self.recipe.new_tokens if max_new_tokens is None else max_new_tokens
        if new_tokens < 1:
            raise InputError(f"max_new_tokens is {new_tokens}; an answer needs at least one")
        answers: list[str] = []
        stream = iter(texts)
        while batch := list(itertools.islice(stream, ANSWER_BATCH)):
            if self.recipe.model in ("causal", "seq2seq"):
                prompts = self._prompts.prompts(batch, views, first=len(answers))
                ids = [prompt.input_ids for prompt in prompts]
                answers += map(self._decoded, self._generator.generate(ids, new_tokens))
            else:
                answers += self._filled(batch, views, questions, len(answers))
            if progress is not None:
                progress(len(answers))
        return answers

    def explain(
        self,
        vectors: ArrayLike,
        *,
        top: int = 5,
        background: ArrayLike | None = None,
        progress: Progress | None = None,
    ) -> list[list[AnswerWord]]:
        """Read vectors (N, H) of a question's view, or means of some, as answer words.

        Returns a list of at most `top` words for each vector, heaviest first; with a background
        vector (H,), what sets each apart from it comes first (see `WordHead.words`).

        Raises:
            CheckpointError: this model's vectors cannot be read as words.
            InputError: the array is not (N, H) of finite numbers.
        """
        return self._word_head.words(vectors, top=top, background=background, progress=progress)

    def _questions(self, views: Views) -> QuestionBlock | None:
        """Check that this model can be asked, and lay out what every row ends with, if they do."""
        if self._packer is not None:
            return self._packer.questions(views)
        self._prompts.check(views)
        return None

    def _packed(
        self,
        texts: list[str],
        views: Views,
        questions: QuestionBlock | None,
        first: int,
        token_budget: int,
    ) -> tuple[Iterator[PackedBatch], list[int]]:
        """Pack texts, and say which were cut."""
        if self._packer is not None and questions is not None:
            tokenized = self._packer.tokenize(texts, first=first)
            return self._packer.batches(tokenized, questions, token_budget), tokenized.truncated
        prompts = self._prompts.prompts(texts, views, first=first)
        generated = None
        start = self._generator.decoder_start if self.recipe.model == "seq2seq" else None
        if self.recipe.generates:
            ids = [prompt.input_ids for prompt in prompts]
            generated = self._generator.generate(ids, self.recipe.new_tokens)
        batches = self._prompts.batches(prompts, token_budget, generated, decoder_start=start)
        return batches, sorted({prompt.text for prompt in prompts if prompt.truncated})

    def _vectors(
        self,
        texts: list[str],
        views: Views,
        questions: QuestionBlock | None,
        first: int,
        token_budget: int,
    ) -> tuple[NDArray[np.float32], list[int]]:
        """Return vectors (N, V, H) of their own length, and which texts were cut."""
        if self._re_encoder is not None:
            return self._re_encoded(self._re_encoder, texts, views, first)
        vectors = np.zeros((len(texts), len(views), self.dimension), dtype=np.float32)
        batches, truncated = self._packed(texts, views, questions, first, token_budget)
        for packed in batches:
            # The slots of one answer add up; the length is made one afterwards.
            np.add.at(vectors, (packed.rows[:, None], packed.views), self._backend.run(packed))
        return vectors, truncated

    def _filled(
        self, texts: list[str], views: Views, questions: QuestionBlock | None, first: int
    ) -> list[str]:
        """Fill each text's answer slots with their likeliest pieces."""
        if self.recipe.answer_token is None:
            raise InputError(f"{self.recipe.name} has no answer slot to fill, and cannot generate")
        filled = [""] * len(texts)
        batches, _ = self._packed(texts, views, questions, first, TOKEN_BUDGET)
        for packed in batches:
            states = self._backend.run(packed)
            best = self._word_head.logits(states.reshape(-1, states.shape[-1])).argmax(axis=1)
            for row, ids in zip(packed.rows, best.reshape(len(states), -1), strict=True):
                filled[row] = self._decoded(ids.tolist())
        return filled

    def _re_encoded(
        self, re_encoder: Embedder, texts: list[str], views: Views, first: int
    ) -> tuple[NDArray[np.float32], list[int]]:
        prompts = self._prompts.prompts(texts, views, first=first)
        ids = [prompt.input_ids for prompt in prompts]
        vectors = np.zeros((len(texts), len(views), re_encoder.dimension), dtype=np.float32)
        samples = self.recipe.samples
        for sample in range(samples):
            seed = None if samples == 1 else sample
            generated = self._generator.generate(ids, self.recipe.new_tokens, seed=seed)
            words = [[one[k] for k in self._prompts.kept(one)] for one in generated]
            answers = [self._decoded(one) for one in words]
            embedded = re_encoder.embed(answers, GENERAL)[GENERAL.name]
            for prompt, vector in zip(prompts, embedded, strict=True):
                vectors[prompt.text, prompt.view] += vector
        return vectors, sorted({prompt.text for prompt in prompts if prompt.truncated})

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    @property
    def _prompts(self) -> Prompter:
        if self._prompter is None:
            raise InputError(f"{self.recipe.name} packs texts and questions, it has no prompts")
        return self._prompter

    @property
    def _generator(self) -> Generator:
        if not isinstance(self._backend, Generator):
            raise InputError(
                f"{self.recipe.name} has to generate text, which the onnx backend does not; "
                "use backend='torch'"
            )
        return self._backend

    @cached_property
    def _word_head(self) -> WordHead:
        return WordHead(self._checkpoint)
