"""Embedder: texts under views become unit vectors.

It joins a checkpoint, a packer and a backend, and knows nothing of storage. One forward pass
serves all views of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inbedder_retrieval.answers import Speaker, check_answers, near_general
from inbedder_retrieval.backends import Options, Runtime, load_backend
from inbedder_retrieval.checkpoint import DEFAULT_MODEL, find_checkpoint
from inbedder_retrieval.documents import AnswerWord
from inbedder_retrieval.embeddings import Embeddings, OnLong
from inbedder_retrieval.errors import InputError, TextError
from inbedder_retrieval.packing import PackedBatch, Packer, QuestionBlock
from inbedder_retrieval.pipeline import Run, Workers, pipelined, runs
from inbedder_retrieval.prompting import Prompter
from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.texts import check_several
from inbedder_retrieval.views import GENERAL, View, Views, ViewsLike

__all__ = ["Embedder"]

ANSWER_BATCH = 64
Progress: TypeAlias = Callable[[int], None]


class Embedder:
    """An instruction-following text embedder.

    Args:
        model: a packaged model's name, a folder, or owner/name on the Hugging Face hub.
        backend: `onnx` runs an exported file, `model.onnx` (int8) unless told; `torch` the weights.
            None takes `onnx` on a CPU where there is a file of the precision.
        recipe: how to prompt and pool, instead of what the checkpoint brings.
        device: `cpu`, or as the backend calls an accelerator; `cuda:0,cuda:1` get a process each.
        precision: what the layers run in: `int8` on onnx, or what else was exported; `float32`,
            `float16` or `bfloat16` on torch. None takes float32 on a CPU; on an accelerator float16
            for encoders and bfloat16 for decoders.
        threads: CPU threads; None takes as many as this process may use.
        compiled: on torch, use `torch.compile`: half a minute for the first batches, then faster.

    Raises:
        InputError: the backend has no such device or precision.
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
        precision: Literal["int8", "float32", "float16", "bfloat16"] | None = None,
        threads: int | None = None,
        compiled: bool = False,
    ) -> None:
        self._checkpoint = find_checkpoint(model, recipe)
        tokenizer = self._checkpoint.tokenizer()
        recipe = self._checkpoint.recipe
        self._packer = Packer(tokenizer, recipe) if recipe.attention == "prefix" else None
        self._prompter = Prompter(tokenizer, recipe) if self._packer is None else None
        self._backend = load_backend(
            backend,
            self._checkpoint,
            Options(device=device, precision=precision, threads=threads, compiled=compiled),
        )
        self._workers = Workers(self.runtime.workers)
        self._speaker = Speaker(self._checkpoint, tokenizer, self._backend, self._workers)
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

    @property
    def runtime(self) -> Runtime:
        """What the model runs on: backend, device, precision, threads."""
        return self._backend.runtime

    def embed(
        self,
        texts: Iterable[str],
        views: ViewsLike,
        *,
        token_budget: int | None = None,
        on_long: OnLong = "cut",
        progress: Progress | None = None,
    ) -> Embeddings:
        """Embed texts under views.

        Args:
            texts: any iterable of N strings.
            views: a View, several, or a mapping of names to questions.
            token_budget: tokens in one batch, padding included; None takes what suits the backend.
            on_long: `cut` a text longer than the model reads and say so in `truncated`, or raise.
            progress: called with the number of texts done so far.

        Returns:
            For every view name a float32 array (N, H) of unit vectors, in the texts' order.

        Raises:
            TextError: a text is no string, holds a lone surrogate, or is too long with
                `on_long="error"`.
            ViewError: the views are unusable, or a question is too long for the model.
        """
        check_several(texts)
        views = Views.of(views)
        # Before the texts are read, which may take long.
        questions = self._questions(views)
        texts = list(texts)
        whole = np.empty((len(views), len(texts), self.dimension), dtype=np.float32)
        truncated: list[int] = []
        empty: list[int] = []
        for run in self._runs(texts, views, questions, None, token_budget, on_long, whole):
            run.wait()
            truncated += run.truncated
            empty += run.empty
            if progress is not None:
                progress(run.stop)
        vectors = dict(zip(views.names, whole, strict=True))
        return Embeddings(vectors, truncated=truncated, empty=empty)

    def embed_batches(
        self,
        texts: Iterable[str],
        views: ViewsLike,
        *,
        batch_size: int | None = None,
        token_budget: int | None = None,
        on_long: OnLong = "cut",
    ) -> Iterator[Embeddings]:
        """Embed a stream of texts, `batch_size` at a time, holding no more than two such runs.

        Yields what `embed` returns for each run of `batch_size` texts, in order; indices in
        `truncated` and `empty` count from the run's first text. While a run is yielded the next
        is computed. Raises what `embed` raises, after the runs before it were yielded, naming a
        text by its place in the stream.
        """
        check_several(texts)
        views = Views.of(views)
        for run in self._runs(
            texts, views, self._questions(views), batch_size, token_budget, on_long, None
        ):
            run.wait()
            yield Embeddings(
                dict(zip(views.names, run.vectors, strict=True)),
                truncated=[index - run.start for index in run.truncated],
                empty=[index - run.start for index in run.empty],
            )

    def embed_answers(self, answers: Iterable[str], views: ViewsLike) -> Embeddings:
        """Embed expected answers, to search views by: the nearest texts are those that give them.

        Where there is a general view, the query is the answer's general vector, the same under
        every question: of the ways measured it finds best by itself (see the packaged model's
        card; no other model was measured). A recipe that does `re_encode` embeds answers with its
        `re_encoder`, as it does its own. Others read the answer as a text under the question.

        Args:
            answers: any iterable of N short answers, such as "refund" or "coffee machine".
            views: as `embed` takes them. In the general view an answer is a text like any other.

        Returns:
            For every view name a float32 array (N, H) of unit vectors, in the answers' order.

        Raises:
            TextError: an answer is no string, says nothing, or holds a lone surrogate.
            ViewError: as `embed`.
        """
        views, answers = Views.of(views), check_answers(answers)
        self._questions(views)
        if self._re_encoder is None and not near_general(self.recipe):
            return self.embed(answers, views)
        found = (self._re_encoder or self).embed(answers, GENERAL)
        vectors = {name: found[GENERAL.name].copy() for name in views.names}
        return Embeddings(vectors, truncated=found.truncated)

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
        questions = self._questions(views := Views([view]))
        check_several(texts)
        new_tokens = self.recipe.new_tokens if max_new_tokens is None else max_new_tokens
        if new_tokens < 1:
            raise InputError(f"max_new_tokens is {new_tokens}; an answer needs at least one")
        answers: list[str] = []
        stream = iter(texts)
        while batch := list(islice(stream, ANSWER_BATCH)):
            if self.recipe.model in ("causal", "seq2seq"):
                prompts = self._prompts.prompts(batch, views, first=len(answers))
                answers += map(self._speaker.words, self._speaker.generate(prompts, new_tokens))
            else:
                budget = self.runtime.token_budget
                packs, _ = self._packed(batch, views, questions, len(answers), budget)
                answers += self._speaker.fill(packs, len(batch))
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
        return self._speaker.head.words(vectors, top=top, background=background, progress=progress)

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
    ) -> tuple[Iterator[Callable[[], PackedBatch]], list[int]]:
        """Return what packs each batch, when it is its turn, and which texts were cut."""
        if (packer := self._packer) is not None and questions is not None:
            tokenized = packer.tokenize(texts, first=first)
            plan = packer.plan(tokenized, questions, token_budget)
            packs = (partial(packer.pack, tokenized, rows, questions) for rows in plan)
            return packs, tokenized.truncated
        prompts = self._prompts.prompts(texts, views, first=first)
        generated = None
        start = self._speaker.decoder_start
        if self.recipe.generates:
            generated = self._speaker.generate(prompts, self.recipe.new_tokens)
        batches = self._prompts.batches(prompts, token_budget, generated, decoder_start=start)
        cut = sorted({prompt.text for prompt in prompts if prompt.truncated})
        return ((lambda packed=packed: packed) for packed in batches), cut

    def _runs(
        self,
        texts: Iterable[str],
        views: Views,
        questions: QuestionBlock | None,
        batch_size: int | None,
        token_budget: int | None,
        on_long: OnLong,
        whole: NDArray[np.float32] | None,
    ) -> Iterator[Run]:
        """Begin runs of texts, whose vectors go into `whole` (V, N, H) or arrays of their own."""
        size = self.runtime.batch_size if batch_size is None else batch_size
        asked = 0 if questions is None else questions.input_ids.size
        usual = self.recipe.batch_tokens(self.runtime.token_budget, asked)
        budget = usual if token_budget is None else token_budget
        if min(size, budget) < 1:
            raise InputError(f"batch_size is {size} and token_budget {budget}; give positive ones")
        if on_long not in ("cut", "error"):
            raise InputError(f"on_long is {on_long!r}; choose 'cut' or 'error'")

        def begin(run: tuple[int, list[str]]) -> Run:
            return self._begin(*run, views, questions, budget, on_long, whole)

        return pipelined(runs(texts, size), begin, Run.cancel)

    def _begin(
        self,
        start: int,
        texts: list[str],
        views: Views,
        questions: QuestionBlock | None,
        token_budget: int,
        on_long: OnLong,
        whole: NDArray[np.float32] | None,
    ) -> Run:
        """Pack a run of texts, counted from `start`, and hand its batches to the workers."""
        stop = start + len(texts)
        if whole is None:
            vectors = np.empty((len(views), len(texts), self.dimension), dtype=np.float32)
        else:
            vectors = whole[:, start:stop]
        futures: list[Future[None]] = []
        if self._re_encoder is not None:
            cut = self._re_encoded(self._re_encoder, texts, views, start, vectors)
        else:
            batches, cut = self._packed(texts, views, questions, start, token_budget)
        if cut and on_long == "error":
            raise TextError(
                f"text {start + cut[0]} is longer than {self.recipe.name} reads "
                f"(it begins {texts[cut[0]][:40]!r}); split it, or use on_long='cut'"
            )
        if self._re_encoder is None:
            first = list(islice(batches, 2))
            if len(first) == 1 and self.runtime.device == "cpu":
                # A query does not queue behind the batches of a corpus.
                self._fill(vectors, first[0])
            else:
                packs = chain(first, batches)
                futures = [self._workers.submit(partial(self._fill, vectors, p)) for p in packs]
        truncated = [start + index for index in cut]
        empty = [start + index for index, text in enumerate(texts) if not text.strip()]
        return Run(start, stop, vectors, futures, truncated, empty)

    def _fill(self, vectors: NDArray[np.float32], pack: Callable[[], PackedBatch]) -> None:
        """Pack and run a batch and write its unit vectors into `vectors` (V, N, H)."""
        packed = pack()
        found = self._backend.run(packed)
        # The slots of one answer stand side by side, in every row alike: they are added up.
        starts = np.flatnonzero(np.diff(packed.views[0], prepend=-1))
        if len(starts) < found.shape[1]:
            found = np.add.reduceat(found, starts, axis=1)
        vectors[packed.views[:, starts], packed.rows[:, None]] = self._scaled(found)

    def _scaled(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.recipe.standardize:
            vectors = vectors - vectors.mean(axis=-1, keepdims=True)
            vectors /= vectors.std(axis=-1, keepdims=True)
        scaled: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
        return scaled

    def _re_encoded(
        self,
        re_encoder: Embedder,
        texts: list[str],
        views: Views,
        first: int,
        vectors: NDArray[np.float32],
    ) -> list[int]:
        """Write the vectors (V, N, H) of generated answers; return which texts were cut."""
        prompts = self._prompts.prompts(texts, views, first=first)
        vectors[:] = 0
        for answers in self._speaker.samples(prompts, self._prompts):
            embedded = re_encoder.embed(answers, GENERAL)[GENERAL.name]
            for prompt, vector in zip(prompts, embedded, strict=True):
                vectors[prompt.view, prompt.text] += vector
        vectors[:] = self._scaled(vectors)
        return sorted({prompt.text for prompt in prompts if prompt.truncated})

    @property
    def _prompts(self) -> Prompter:
        if self._prompter is None:
            raise InputError(f"{self.recipe.name} packs texts and questions, it has no prompts")
        return self._prompter
