"""Packing: texts and questions become token batches that every backend runs alike.

A row is a text block followed by a question block. The question block is the same for all rows
of a batch and begins at the same column, so it is written once; the text block is padded on the
right. Where a token stands in the row does not matter to the model: its position id and its
segment do.

    column     0 ........ T-1 | T .............. T+Q-1
    token      [CLS] text [SEP] (padding) | question 1 [SEP] [MASK]  question 2 [SEP] [MASK] ...
    segment    0 ........... 0  -1 .. -1  | 1 ................... 1  2 ................... 2 ...
    position   0 ........ n-1   0  ..  0  | n, n+1, ...              n, n+1, ...

Answer slots are marked by where they were put, never by looking for the mask token's id: a text
may contain `[MASK]`. Truncation cuts texts only, never a question or its slots.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from inbedder_retrieval.documents import lone_surrogate
from inbedder_retrieval.errors import CheckpointError, TextError, ViewError
from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.views import View, Views

__all__ = [
    "PackedBatch",
    "Packer",
    "QuestionBlock",
    "TokenizedTexts",
    "bounded_runs",
    "check_several",
    "check_texts",
    "may_attend",
    "token_number",
]

# The tokenizer keeps every piece of a text as a string: this bounds what it holds at a time.
TOKENIZER_CHARACTERS = 4_000_000


@dataclass(frozen=True)
class PackedBatch:
    """B rows of S tokens, and V vectors to pool from each.

    Attributes:
        rows: (B,) which text each row is, as an index into the tokenized texts.
        views: (B, V) which view each vector belongs to. Vectors of one text and view are to be
            averaged: with a head, every answer slot has a vector of its own.
        input_ids: (B, S) int64.
        position_ids: (B, S) int64; a question starts again at its text's length. Counted from
            the recipe's first position.
        segment_ids: (B, S) int64; 0 the text, k the k-th question, -1 padding.
        pool_weights: (B, V, S) float32; a vector is this times the states.
        decoder_ids: (B, D) int64, for models with an encoder and a decoder whose decoder is
            pooled: then the weights are (B, V, D), over the decoder's states.
    """

    rows: NDArray[np.int64]
    views: NDArray[np.int64]
    input_ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    segment_ids: NDArray[np.int64]
    pool_weights: NDArray[np.float32]
    decoder_ids: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class QuestionBlock:
    """The questions of all views, one after the other: what every row ends with.

    Attributes:
        input_ids, offsets, segment_ids: (Q,) int64; an offset counts from the text's length.
        views: (V,) int64; the view of each vector: one for the general view, one for each slot.
        slots: (V,) int64; the column of each vector's answer slot, -1 for the general view.
    """

    input_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    segment_ids: NDArray[np.int64]
    views: NDArray[np.int64]
    slots: NDArray[np.int64]


@dataclass(frozen=True)
class TokenizedTexts:
    """Texts as token ids with the recipe's special tokens around them.

    Attributes:
        input_ids: one int64 array a text.
        truncated: indices of the texts that were cut.
    """

    input_ids: list[NDArray[np.int64]]
    truncated: list[int]


def may_attend(segment_ids: Any) -> Any:
    """Return which tokens (B, query, key) may look at which: the text, and their own segment.

    Takes a NumPy array (B, S) or a tensor and returns one of booleans; `causal` models also may
    not look ahead.
    """
    query, key = segment_ids[:, :, None], segment_ids[:, None, :]
    return (key >= 0) & ((key == 0) | (key == query))


def check_several(texts: Iterable[str]) -> None:
    """Raise TextError where one string was given for many: its letters are not texts."""
    if isinstance(texts, (str, bytes)):
        raise TextError("one string was given for the texts; give a list of strings")


def check_texts(texts: Sequence[str], first: int) -> None:
    """Raise TextError where a text is no string of Unicode characters; counted from `first`."""
    for index, text in enumerate(texts, first):
        if not isinstance(text, str):
            raise TextError(f"text {index} is {type(text).__name__}; a text must be a string")
        if (half := lone_surrogate(text)) is not None:
            raise TextError(
                f"text {index} holds the lone surrogate U+{ord(half):04X}, which is no "
                "character; repair the text where it was cut"
            )


def bounded_runs(texts: Sequence[str]) -> Iterator[list[str]]:
    """Cut texts into runs that a tokenizer may hold at a time, one text at least."""
    run: list[str] = []
    characters = 0
    for text in texts:
        if run and characters + len(text) > TOKENIZER_CHARACTERS:
            yield run
            run, characters = [], 0
        run.append(text)
        characters += len(text)
    if run:
        yield run


def token_number(tokenizer: Tokenizer, token: str, recipe: str) -> int:
    """Return a token's id, or raise CheckpointError where the vocabulary lacks it."""
    number = tokenizer.token_to_id(token)
    if number is None:
        raise CheckpointError(
            f"the recipe of {recipe} uses the token {token!r}, which its tokenizer does not have"
        )
    return int(number)


class Packer:
    """Turns texts and views into packed batches, for one tokenizer and recipe.

    Raises:
        CheckpointError: a token of the recipe's templates is not in the vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer, recipe: Recipe) -> None:
        self._tokenizer = tokenizer
        self._recipe = recipe
        self._text_ids = self._template(recipe.text_template, "{text}")
        self._question_ids = self._template(recipe.question_template, "{question}")
        self._text_specials = len(self._text_ids[0]) + len(self._text_ids[1])

    def questions(self, views: Views) -> QuestionBlock:
        """Lay out the questions of `views`.

        Raises:
            ViewError: the model has no general view, or a question is too long to fit beside the
                longest text.
        """
        ids: list[int] = []
        offsets: list[int] = []
        segments: list[int] = []
        slots: list[tuple[int, int]] = []
        for number, view in enumerate(views):
            if view.instruction is None:
                if self._recipe.general == "none":
                    raise ViewError(
                        f"model {self._recipe.name} has no general view; ask it a question instead"
                    )
                slots.append((number, -1))
                continue
            question, answers = self._question(view)
            slots += [(number, len(ids) + place) for place in answers]
            ids += question
            offsets += range(len(question))
            segments += [number + 1] * len(question)
        return QuestionBlock(
            np.array(ids, dtype=np.int64),
            np.array(offsets, dtype=np.int64),
            np.array(segments, dtype=np.int64),
            np.array([number for number, _ in slots], dtype=np.int64),
            np.array([place for _, place in slots], dtype=np.int64),
        )

    def tokenize(self, texts: Sequence[str], *, first: int = 0) -> TokenizedTexts:
        """Tokenize texts, cutting each at the recipe's `max_text_tokens` pieces.

        Errors count texts from `first`.

        Raises:
            TextError: a text is no string, or holds a lone surrogate.
        """
        check_texts(texts, first)
        limit = self._recipe.max_text_tokens
        before, after = (np.array(ids, dtype=np.int64) for ids in self._text_ids)
        input_ids: list[NDArray[np.int64]] = []
        truncated: list[int] = []
        for run in bounded_runs(texts):
            for encoding in self._tokenizer.encode_batch_fast(run, add_special_tokens=False):
                pieces = encoding.ids
                if len(pieces) > limit:
                    truncated.append(len(input_ids))
                    pieces = pieces[-limit:] if self._recipe.cut == "start" else pieces[:limit]
                input_ids.append(np.concatenate([before, np.array(pieces, np.int64), after]))
        return TokenizedTexts(input_ids, truncated)

    def batches(
        self, texts: TokenizedTexts, questions: QuestionBlock, token_budget: int
    ) -> Iterator[PackedBatch]:
        """Pack texts of like length together, at most `token_budget` tokens a batch.

        A batch holds at least one text, so a budget below a row's length is exceeded by that row.
        """
        lengths = np.array([len(ids) for ids in texts.input_ids], dtype=np.int64)
        order = np.argsort(lengths, kind="stable")
        extra = len(questions.input_ids)
        start = 0
        while start < len(order):
            stop = start + 1
            # Sorted by length: the last row of a batch is its longest.
            while (
                stop < len(order)
                and (stop + 1 - start) * (lengths[order[stop]] + extra) <= token_budget
            ):
                stop += 1
            rows = order[start:stop]
            yield self._pack(rows, [texts.input_ids[row] for row in rows], lengths[rows], questions)
            start = stop

    def _pack(
        self,
        rows: NDArray[np.int64],
        texts: list[NDArray[np.int64]],
        lengths: NDArray[np.int64],
        questions: QuestionBlock,
    ) -> PackedBatch:
        width = int(lengths.max())
        shape = (len(rows), width + len(questions.input_ids))
        is_text = np.arange(width) < lengths[:, None]

        input_ids = np.zeros(shape, dtype=np.int64)
        input_ids[:, :width][is_text] = np.concatenate(texts)
        input_ids[:, width:] = questions.input_ids

        position_ids = np.zeros(shape, dtype=np.int64)
        position_ids[:, :width] = np.where(is_text, np.arange(width), 0)
        position_ids[:, width:] = lengths[:, None] + questions.offsets
        position_ids += self._recipe.first_position

        segment_ids = np.full(shape, -1, dtype=np.int64)
        segment_ids[:, :width][is_text] = 0
        segment_ids[:, width:] = questions.segment_ids

        pool_weights = np.zeros((len(rows), len(questions.slots), shape[1]), dtype=np.float32)
        asked = np.flatnonzero(questions.slots >= 0)
        pool_weights[:, asked, width + questions.slots[asked]] = 1.0
        mean = (is_text / lengths[:, None]).astype(np.float32)
        pool_weights[:, questions.slots < 0, :width] = mean[:, None, :]
        views = np.broadcast_to(questions.views, (len(rows), len(questions.views)))
        return PackedBatch(rows, views, input_ids, position_ids, segment_ids, pool_weights)

    def _question(self, view: View) -> tuple[list[int], list[int]]:
        """Return a question's tokens, and where among them its answer slots are."""
        before, after = self._question_ids
        pieces = self._tokenizer.encode(view.instruction, add_special_tokens=False).ids
        room = self._recipe.max_positions - self._recipe.max_text_tokens - self._text_specials
        if len(before) + len(pieces) + len(after) > room:
            raise ViewError(
                f"the question of view {view.name!r} is {len(pieces)} word pieces long; "
                f"{self._recipe.name} takes {room - len(before) - len(after)} at most. Shorten it"
            )
        template = self._recipe.question_template
        middle = template.index("{question}")
        slots = [
            place if place < middle else place + len(pieces) - 1
            for place, token in enumerate(template)
            if token == self._recipe.answer_token
        ]
        return [*before, *pieces, *after], slots

    def _template(self, template: Sequence[str], hole: str) -> tuple[list[int], list[int]]:
        ids: tuple[list[int], list[int]] = ([], [])
        middle = template.index(hole)
        for place, token in enumerate(template):
            if place == middle:
                continue
            ids[place > middle].append(token_number(self._tokenizer, token, self._recipe.name))
        return ids
