"""Answers: what a model says in words, and the answers that texts are searched by.

This module knows prompts, packed batches and tokens, but neither views nor where vectors go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial

import numpy as np
from tokenizers import Tokenizer

from inbedder_retrieval.backends import Backend, Generator
from inbedder_retrieval.checkpoint import Checkpoint
from inbedder_retrieval.documents import lone_surrogate
from inbedder_retrieval.errors import InputError, TextError
from inbedder_retrieval.explain import WordHead
from inbedder_retrieval.packing import PackedBatch
from inbedder_retrieval.pipeline import Workers
from inbedder_retrieval.prompting import Prompt, Prompter
from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.texts import check_several

__all__ = ["Speaker", "check_answers", "near_general"]


def check_answers(answers: Iterable[str]) -> list[str]:
    """Return the answers that texts are to be searched by.

    Raises:
        TextError: one string was given for many; an answer is no string, holds nothing but white
            space, or holds a lone surrogate.
    """
    check_several(answers)
    found = list(answers)
    for index, answer in enumerate(found):
        if not isinstance(answer, str):
            raise TextError(
                f"answer {index} is {type(answer).__name__}; an answer must be a string"
            )
        if not answer.strip():
            raise TextError(
                f"answer {index} is {answer!r}, which says nothing; give the answer that the "
                "texts should have, such as 'refund'"
            )
        if (half := lone_surrogate(answer)) is not None:
            raise TextError(
                f"answer {index} holds the lone surrogate U+{ord(half):04X}, which is no "
                "character; write it again without that character"
            )
    return found


def near_general(recipe: Recipe) -> bool:
    """Whether a view's vectors lie near the general vectors of the answers.

    So it is where there is a general view at all: `prefix` models are trained to align the state
    at an answer slot with the base model's embedding of the answer, and embedders with a prompt
    for plain text (Qwen3-Embedding, E5-instruct) to find the plain passage that answers.
    """
    if recipe.attention == "prefix":
        return recipe.general != "none"
    return recipe.general_prompt is not None


class Speaker:
    """Lets a model say its answers: generated, filled into its slots, or read off its vectors.

    Args:
        workers: what runs the backend.
    """

    def __init__(
        self, checkpoint: Checkpoint, tokenizer: Tokenizer, backend: Backend, workers: Workers
    ) -> None:
        self._checkpoint = checkpoint
        self._recipe = checkpoint.recipe
        self._tokenizer = tokenizer
        self._backend = backend
        self._workers = workers

    @cached_property
    def head(self) -> WordHead:
        """What reads vectors as words.

        Raises:
            CheckpointError: this model's vectors cannot be read so.
        """
        return WordHead(self._checkpoint)

    @property
    def decoder_start(self) -> int | None:
        """The token that a decoder begins with; None where the model has no such decoder."""
        return self._generator.decoder_start if self._recipe.model == "seq2seq" else None

    def generate(
        self, prompts: Sequence[Prompt], new_tokens: int, *, seed: int | None = None
    ) -> list[list[int]]:
        """Return at most `new_tokens` new tokens for each prompt.

        Raises:
            InputError: this backend does not generate.
        """
        ids = [prompt.input_ids for prompt in prompts]
        return self._generator.generate(ids, new_tokens, seed=seed)

    def words(self, tokens: Sequence[int]) -> str:
        """Return tokens as text, without the special ones and outer spaces."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()

    def samples(self, prompts: Sequence[Prompt], prompter: Prompter) -> Iterator[list[str]]:
        """Yield what is said to each prompt, as often as the recipe samples.

        The words that the recipe filters are left out. One sample is the likeliest; of several,
        each has a seed of its own.
        """
        samples = self._recipe.samples
        for sample in range(samples):
            seed = None if samples == 1 else sample
            generated = self.generate(prompts, self._recipe.new_tokens, seed=seed)
            yield [self.words([one[k] for k in prompter.kept(one)]) for one in generated]

    def fill(self, packs: Iterable[Callable[[], PackedBatch]], count: int) -> list[str]:
        """Fill the answer slots of `count` texts, each slot with its likeliest piece.

        Args:
            packs: what packs each batch, of one view.

        Raises:
            InputError: the model has no answer slot.
        """
        if self._recipe.answer_token is None:
            raise InputError(f"{self._recipe.name} has no answer slot to fill, and cannot generate")
        filled = [""] * count
        for pack in packs:
            packed = pack()
            # By a worker: an interrupt that reached the backend would leave it half way.
            states = self._workers.submit(partial(self._backend.run, packed)).result()
            best = self.head.logits(states.reshape(-1, states.shape[-1])).argmax(axis=1)
            for row, ids in zip(packed.rows, best.reshape(len(states), -1), strict=True):
                filled[row] = self.words(np.asarray(ids).tolist())
        return filled

    @property
    def _generator(self) -> Generator:
        if not isinstance(self._backend, Generator):
            raise InputError(
                f"{self._recipe.name} has to generate text, which {self._backend.runtime} does "
                "not; use backend='torch' on one device"
            )
        return self._backend
