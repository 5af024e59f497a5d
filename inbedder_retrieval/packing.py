"""Packing: texts and questions become token batches that every backend runs alike.

A row is a text block followed by a question block. The question block is the same for all rows
of a batch and begins at the same column, so it is written once; the text block is padded on the
right. Where a token stands in the row does not matter to the model: its position id and its
segment do.

    column     0 ........ T-1 | T .............. T+Q-1
    token      [CLS] text [SEP] (padding) | question 1 [SEP] [MASK]  question 2 [SEP] [MASK] ...
    segment    0 ........... 0  -1 .. -1  | 1 ................... 1  2 ................... 2 ...
    position   0 ........ n-1   0  ..  0  | n, n+1, ...              n, n+1, ...

A recipe may have all questions start at one position instead, whatever the text's length: then they
are the same in every row, and layers in which they do not read the text need them once.

No question looks at another, so many of them stand in groups of like length, padded to one width:
a backend may attend within each group alone, and the cost of a question does not grow with their
number.

Answer slots are marked by where they were put, never by looking for the mask token's id: a text
may contain `[MASK]`. Truncation cuts texts only, never a question or its slots.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from inbedder_retrieval.errors import CheckpointError, ViewError
from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.texts import bounded_runs, check_texts
from inbedder_retrieval.views import View, Views

__all__ = [
    "BLOCKS",
    "PackedBatch",
    "Packer",
    "QuestionBlock",
    "TokenizedTexts",
    "blocks_of",
    "may_attend",
    "token_number",
]

# Wider groups of questions look at more columns than they may attend to, narrower ones read the
# text's keys more often. Flat between 48 and 96 on two cores.
GROUP_TOKENS = 64
# The share of a batch that may be padding: large batches span many lengths.
PADDING = 0.05
# What `blocks_of` returns, in order.
BLOCKS = (
    *("text_ids", "text_segments", "question_ids", "question_positions", "question_segments"),
    *("question_rows", "columns", "pooled_segments", "pool_weights"),
)


@dataclass(frozen=True)
class PackedBatch:
    """B rows of S tokens, and V vectors to pool from each.

    Attributes:
        rows: (B,) which text each row is, as an index into the tokenized texts.
        views: (B, V) which view each vector belongs to. Vectors of one text and view are to be
            averaged: with a head, every answer slot has a vector of its own.
        input_ids: (B, S) int64.
        position_ids: (B, S) int64; a question starts again at its text's length, or where the
            recipe has all of them start. Counted from the recipe's first position.
        segment_ids: (B, S) int64; 0 the text, k the k-th question, -1 padding.
        columns: (C,) int64; the columns that any vector is pooled from, ascending. No other needs
            a state of the last layer.
        pool_weights: (B, V, C) float32; a vector is this times the states of those columns.
        decoder_ids: (B, D) int64, for models with an encoder and a decoder whose decoder is
            pooled: then columns and weights are over the decoder's states.
        text_columns: how many columns the text block has, before the question block.
        groups: of how many groups of equal width the question block is made; 0 where a row has
            no such two blocks.
    """

    rows: NDArray[np.int64]
    views: NDArray[np.int64]
    input_ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    segment_ids: NDArray[np.int64]
    columns: NDArray[np.int64]
    pool_weights: NDArray[np.float32]
    decoder_ids: NDArray[np.int64] | None = None
    text_columns: int = 0
    groups: int = 0


@dataclass(frozen=True)
class QuestionBlock:
    """The questions of all views, one after the other: what every row ends with.

    Attributes:
        input_ids, offsets, segment_ids: (G, L) int64; G groups of L tokens, padded at their ends
            with segment -1; an offset counts from where questions start. Never empty: one padding
            token stands where nothing is asked.
        views: (V,) int64; the view of each vector: one for the general view, one for each slot.
        slots: (V,) int64; the place of each vector's answer slot in the block, -1 for the general
            view.
    """

    input_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    segment_ids: NDArray[np.int64]
    views: NDArray[np.int64]
    slots: NDArray[np.int64]


@dataclass(frozen=True)
class TokenizedTexts:
    """Texts as word pieces, without the recipe's special tokens.

    Attributes:
        pieces: (P,) int64; the pieces of all texts, one text after the other.
        starts: (N + 1,) int64; where each text begins among them.
        truncated: indices of the texts that were cut.
    """

    pieces: NDArray[np.int64]
    starts: NDArray[np.int64]
    truncated: list[int]


def may_attend(segment_ids: Any) -> Any:
    """Return which tokens (B, query, key) may look at which: the text, and their own segment.

    Takes a NumPy array (B, S) or a tensor and returns one of booleans; `causal` models also may
    not look ahead.
    """
    query, key = segment_ids[:, :, None], segment_ids[:, None, :]
    return (key >= 0) & ((key == 0) | (key == query))


def blocks_of(batch: PackedBatch) -> dict[str, NDArray[Any]]:
    """Return a prefix batch as its two blocks: what the exported graph and `PrefixModel` take.

    Rows end with the same questions and differ, at most, in where these start: a block is given
    once for all rows that start alike.

    Returns, in order: text_ids, text_segments (B, T); question_ids, question_positions,
    question_segments (D, G, L), the D different blocks; question_rows (B,), which of them each row
    ends with; columns (C,); pooled_segments (B, C), the segments of those columns; pool_weights
    (B, V, C).
    """
    text = batch.text_columns
    starts = batch.position_ids[:, text]
    _, kept, question_rows = np.unique(starts, return_index=True, return_inverse=True)
    shape = (len(kept), batch.groups, -1)
    return {
        "text_ids": batch.input_ids[:, :text],
        "text_segments": batch.segment_ids[:, :text],
        "question_ids": batch.input_ids[kept, text:].reshape(shape),
        "question_positions": batch.position_ids[kept, text:].reshape(shape),
        "question_segments": batch.segment_ids[kept, text:].reshape(shape),
        "question_rows": question_rows,
        "columns": batch.columns,
        "pooled_segments": batch.segment_ids[:, batch.columns],
        "pool_weights": batch.pool_weights,
    }


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
        views_of: list[int] = []
        slots: list[int] = []
        asked: list[tuple[int, list[int], list[int]]] = []
        for number, view in enumerate(views):
            if view.instruction is not None:
                asked.append((number, *self._question(view)))
            elif self._recipe.general == "none":
                raise ViewError(
                    f"model {self._recipe.name} has no general view; ask it a question instead"
                )
            else:
                views_of.append(number)
                slots.append(-1)
        groups, width = _groups([len(ids) for _, ids, _ in asked])
        shape = (len(groups), width)
        input_ids = np.zeros(shape, dtype=np.int64)
        offsets = np.zeros(shape, dtype=np.int64)
        segment_ids = np.full(shape, -1, dtype=np.int64)
        for group, members in enumerate(groups):
            start = 0
            for member in members:
                number, ids, answers = asked[member]
                places = slice(start, start + len(ids))
                input_ids[group, places] = ids
                offsets[group, places] = range(len(ids))
                segment_ids[group, places] = number + 1
                views_of += [number] * len(answers)
                slots += [group * width + start + place for place in answers]
                start += len(ids)
        return QuestionBlock(
            input_ids,
            offsets,
            segment_ids,
            np.array(views_of, dtype=np.int64),
            np.array(slots, dtype=np.int64),
        )

    def tokenize(self, texts: Sequence[str], *, first: int = 0) -> TokenizedTexts:
        """Tokenize texts, cutting each at the recipe's `max_text_tokens` pieces.

        Errors count texts from `first`.

        Raises:
            TextError: a text is no string, or holds a lone surrogate.
        """
        check_texts(texts, first)
        limit = self._recipe.max_text_tokens
        kept = slice(-limit, None) if self._recipe.cut == "start" else slice(limit)
        ids: list[list[int]] = []
        truncated: list[int] = []
        for run in bounded_runs(texts):
            for encoding in self._tokenizer.encode_batch_fast(run, add_special_tokens=False):
                pieces = encoding.ids
                if len(pieces) > limit:
                    truncated.append(len(ids))
                    pieces = pieces[kept]
                ids.append(pieces)
        starts = np.zeros(len(ids) + 1, dtype=np.int64)
        starts[1:] = np.cumsum([len(pieces) for pieces in ids])
        flat = np.fromiter(itertools.chain.from_iterable(ids), np.int64, count=int(starts[-1]))
        return TokenizedTexts(flat, starts, truncated)

    def batches(
        self, texts: TokenizedTexts, questions: QuestionBlock, token_budget: int
    ) -> Iterator[PackedBatch]:
        """Pack texts of like length together, at most `token_budget` tokens a batch.

        A batch holds at least one text, so a budget below a row's length is exceeded by that row.
        """
        for rows in self.plan(texts, questions, token_budget):
            yield self.pack(texts, rows, questions)

    def plan(
        self, texts: TokenizedTexts, questions: QuestionBlock, token_budget: int
    ) -> Iterator[NDArray[np.int64]]:
        """Choose which texts are packed together, as `batches` does, without packing them.

        A batch that is half full is closed early where padding would make up more of it than
        `PADDING`.
        """
        lengths = np.diff(texts.starts) + self._text_specials + questions.input_ids.size
        order = np.argsort(lengths, kind="stable")
        start = 0
        while start < len(order):
            # Sorted by length: the last row of a batch is its longest.
            ahead = lengths[order[start:]]
            sizes = ahead * np.arange(1, len(ahead) + 1)
            spared = 1 - np.cumsum(ahead) / sizes <= PADDING
            fits = (sizes <= token_budget) & (spared | (sizes <= token_budget / 2))
            stop = start + max(1, len(fits) if fits.all() else int(fits.argmin()))
            yield order[start:stop]
            start = stop

    def pack(
        self, texts: TokenizedTexts, rows: NDArray[np.int64], questions: QuestionBlock
    ) -> PackedBatch:
        """Pack some of the texts into one batch."""
        lengths = (np.diff(texts.starts) + self._text_specials)[rows]
        width = int(lengths.max())
        shape = (len(rows), width + questions.input_ids.size)
        is_text = np.arange(width) < lengths[:, None]

        input_ids = np.zeros(shape, dtype=np.int64)
        before, after = self._text_ids
        input_ids[:, : len(before)] = before
        pieces = input_ids[:, len(before) : width - len(after)]
        places = np.arange(pieces.shape[1])
        own = places < (lengths - self._text_specials)[:, None]
        pieces[own] = texts.pieces[(texts.starts[rows][:, None] + places)[own]]
        ends = lengths[:, None] - np.arange(len(after), 0, -1)
        np.put_along_axis(input_ids, ends, np.array(after, dtype=np.int64)[None], axis=1)
        input_ids[:, width:] = questions.input_ids.ravel()

        position_ids = np.zeros(shape, dtype=np.int64)
        position_ids[:, :width] = np.where(is_text, np.arange(width), 0)
        position_ids[:, width:] = self.starts(lengths)[:, None] + questions.offsets.ravel()
        position_ids += self._recipe.first_position

        segment_ids = np.full(shape, -1, dtype=np.int64)
        segment_ids[:, :width][is_text] = 0
        segment_ids[:, width:] = questions.segment_ids.ravel()

        asked = np.flatnonzero(questions.slots >= 0)
        general = np.flatnonzero(questions.slots < 0)
        read = width if len(general) else 0
        columns = np.concatenate([np.arange(read), width + questions.slots[asked]])
        pool_weights = np.zeros((len(rows), len(questions.slots), len(columns)), dtype=np.float32)
        pool_weights[:, asked, read + np.arange(len(asked))] = 1.0
        pool_weights[:, general, :read] = (is_text / lengths[:, None])[:, None, :read]
        return PackedBatch(
            rows,
            np.broadcast_to(questions.views, (len(rows), len(questions.views))),
            input_ids,
            position_ids,
            segment_ids,
            columns,
            pool_weights,
            text_columns=width,
            groups=len(questions.input_ids),
        )

    def starts(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where questions start beside texts of such lengths, specials included (B,)."""
        start = self._recipe.question_start
        return lengths if start is None else np.full_like(lengths, start)

    @property
    def question_room(self) -> int:
        """How many positions a question has beside the longest text."""
        longest = np.array([self._recipe.max_text_tokens + self._text_specials])
        return self._recipe.max_positions - int(self.starts(longest)[0])

    def _question(self, view: View) -> tuple[list[int], list[int]]:
        """Return a question's tokens, and where among them its answer slots are."""
        before, after = self._question_ids
        pieces = self._tokenizer.encode(view.instruction, add_special_tokens=False).ids
        room = self.question_room
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


def _groups(lengths: Sequence[int]) -> tuple[list[list[int]], int]:
    """Part questions, in order, into groups of like length; return them and their width.

    As many groups as `GROUP_TOKENS` asks for, and of those the narrowest.
    """
    count = -(-sum(lengths) // GROUP_TOKENS)
    width = max([*lengths, -(-sum(lengths) // max(count, 1)), 1])
    while True:
        groups: list[list[int]] = [[]]
        room = width
        for number, length in enumerate(lengths):
            if length > room:
                groups.append([])
                room = width
            groups[-1].append(number)
            room -= length
        if len(groups) <= max(count, 1):
            return groups, width
        width += 1
