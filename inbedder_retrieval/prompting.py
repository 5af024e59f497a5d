"""Prompting: texts and questions become rows of whole prompts, for `joint` and `causal` models.

A prompt is tokenized as one string, as the model's authors did, or from a text and a question
apart where the recipe says so. A prompt that is too long loses pieces of its text, never of its
question, its own words or its answer slots.

`joint` models get a row for each text and question. `causal` models get one row a text: the
longest common beginning of its prompts is written once as segment 0, the rest of prompt k follows
as segment k with the positions it would have alone, so packed and alone are the same whatever the
tokenizer does at the joins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from inbedder_retrieval.errors import CheckpointError, ViewError
from inbedder_retrieval.packing import PackedBatch, token_number
from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.texts import bounded_runs, check_texts
from inbedder_retrieval.views import View, Views

__all__ = ["Prompt", "Prompter"]


@dataclass(frozen=True)
class Prompt:
    """One text under one question, as tokens.

    Attributes:
        text, view: which text and which view it is, by number.
        input_ids: the tokens, special ones included.
        slots: where the answer slots are.
        truncated: whether pieces of the text were cut.
    """

    text: int
    view: int
    input_ids: list[int]
    slots: list[int]
    truncated: bool


class Prompter:
    """Makes prompts and packs them, for one tokenizer and recipe.

    Raises:
        CheckpointError: a token of the recipe's template is not in the vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer, recipe: Recipe) -> None:
        self._tokenizer = tokenizer
        self._recipe = recipe
        self._unwanted = {
            number
            for number, token in tokenizer.get_added_tokens_decoder().items()
            if token.special
        }
        self._tokens = {
            token: token_number(tokenizer, token, recipe.name)
            for token in recipe.row_template
            if "{" not in token
        }
        self._unwanted |= set(self._tokens.values())
        for word in recipe.filter_words:
            self._unwanted |= set(tokenizer.encode(word, add_special_tokens=False).ids)

    def check(self, views: Views) -> None:
        """Raise ViewError where a question cannot be asked of this model."""
        for view in views:
            self._prompts(["a"], Views([view]))

    def prompts(self, texts: Sequence[str], views: Views, *, first: int = 0) -> list[Prompt]:
        """Make the prompts of all texts under all views, text by text.

        Raises:
            TextError: a text is no string, or holds a lone surrogate; counted from `first`.
            ViewError: the model has no general view, or a question leaves no room for a text.
        """
        check_texts(texts, first)
        return self._prompts(texts, views)

    def batches(
        self,
        prompts: Sequence[Prompt],
        token_budget: int,
        generated: Sequence[Sequence[int]] | None = None,
        *,
        decoder_start: int | None = None,
    ) -> Iterator[PackedBatch]:
        """Pack prompts of like length together, at most `token_budget` tokens a batch.

        Args:
            generated: for each prompt the tokens that the model went on with, where the recipe
                pools them.
            decoder_start: the token a decoder begins with, where the model has one.
        """
        answers = [[] for _ in prompts] if generated is None else [list(one) for one in generated]
        rows: list[_Row] = []
        if self._recipe.attention == "causal":
            for group in _by_text(prompts):
                rows.append(self._shared_row(prompts, group, answers))
        else:
            rows = [
                self._own_row(prompt, answer, decoder_start)
                for prompt, answer in zip(prompts, answers, strict=True)
            ]
        order = sorted(range(len(rows)), key=lambda k: len(rows[k].input_ids))
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order):
                longest = len(rows[order[stop]].input_ids)
                same = len(rows[order[stop]].pools) == len(rows[order[start]].pools)
                if not same or (stop + 1 - start) * longest > token_budget:
                    break
                stop += 1
            yield _pad([rows[k] for k in order[start:stop]])
            start = stop

    def kept(self, generated: Sequence[int]) -> list[int]:
        """Return the places of generated tokens that are words: neither special nor filtered."""
        return [place for place, token in enumerate(generated) if token not in self._unwanted]

    def _prompts(self, texts: Sequence[str], views: Views) -> list[Prompt]:
        found: list[Prompt] = []
        for number, view in enumerate(views):
            frame = self._frame(view)
            for index, pieces in enumerate(self._pieces(texts, view)):
                row, slots, truncated = self._fit(pieces, frame, view)
                found.append(Prompt(index, number, row, slots, truncated))
        found.sort(key=lambda prompt: (prompt.text, prompt.view))
        return found

    def _pieces(self, texts: Sequence[str], view: View) -> Iterator[list[tuple[int, bool]]]:
        """Yield each text's tokens under a view, and of each whether it may be cut."""
        recipe = self._recipe
        if view.instruction is None and recipe.general_prompt is None:
            raise ViewError(f"model {recipe.name} has no general view; ask it a question instead")
        if "{prompt}" in recipe.row_template or view.instruction is None:
            template = recipe.prompt if view.instruction is not None else recipe.general_prompt
            before, after = (template or "").split("{text}")
            # The holes are cut before they are filled: a text may contain "{question}".
            before, after = (
                part.replace("{question}", view.instruction or "") for part in (before, after)
            )
            strings = [before + text + after for text in texts]
            for text, encoding in zip(texts, self._encodings(strings), strict=True):
                start, stop = len(before), len(before) + len(text)
                yield [
                    (token, start <= begin and end <= stop and begin < end)
                    for token, (begin, end) in zip(encoding.ids, encoding.offsets, strict=True)
                ]
        else:
            for encoding in self._encodings(texts):
                yield [(token, True) for token in encoding.ids]

    def _frame(self, view: View) -> tuple[list[tuple[int, bool]], list[tuple[int, bool]]]:
        """Return a row's own tokens before and after the text, and which are answer slots."""
        frame: tuple[list[tuple[int, bool]], list[tuple[int, bool]]] = ([], [])
        side = 0
        for token in self._recipe.row_template:
            if token in ("{prompt}", "{text}"):
                side = 1
            elif token != "{question}":
                frame[side].append((self._tokens[token], token == self._recipe.answer_token))
            elif view.instruction is not None:
                question = self._tokenizer.encode(view.instruction, add_special_tokens=False).ids
                frame[side].extend((piece, False) for piece in question)
        return frame

    def _fit(
        self,
        pieces: list[tuple[int, bool]],
        frame: tuple[list[tuple[int, bool]], list[tuple[int, bool]]],
        view: View,
    ) -> tuple[list[int], list[int], bool]:
        """Put a row's own tokens around the pieces, and cut the text to the row's length.

        Returns the row, where its answer slots are, and whether it was cut.
        """
        before, after = frame
        row = [(token, False) for token, _ in before]
        row += pieces
        row += [(token, False) for token, _ in after]
        places = [*range(len(before)), *range(len(row) - len(after), len(row))]
        slots = [place for place, (_, slot) in zip(places, before + after, strict=True) if slot]
        excess = len(row) - self._recipe.max_tokens
        if excess > 0:
            places = [place for place, (_, may_go) in enumerate(row) if may_go]
            if excess > len(places):
                raise ViewError(
                    f"the question of view {view.name!r} alone makes a prompt of "
                    f"{len(row) - len(places)} tokens; {self._recipe.name} takes "
                    f"{self._recipe.max_tokens} at most. Shorten it"
                )
            gone = set(places[:excess] if self._recipe.cut == "start" else places[-excess:])
            slots = [slot - sum(place < slot for place in gone) for slot in slots]
            row = [piece for place, piece in enumerate(row) if place not in gone]
        return [token for token, _ in row], slots, excess > 0

    def _own_row(self, prompt: Prompt, answer: list[int], decoder_start: int | None) -> _Row:
        ids = prompt.input_ids
        row = _Row(prompt.text, ids, list(range(len(ids))), [0] * len(ids), [])
        for slot in prompt.slots:
            # Slots are told apart from the text, which a head is not for.
            row.segments[slot] = 1
        decoded = self._recipe.model == "seq2seq" and self._recipe.pooling != "avg_ppt"
        if decoded:
            if decoder_start is None:
                raise CheckpointError(
                    f"the configuration of {self._recipe.name} names no token that its decoder "
                    "begins with (decoder_start_token_id)"
                )
            row.decoder_ids = [decoder_start, *answer[:-1]]
            row.pools = [(prompt.view, self._decoder_places(answer))]
        elif prompt.slots and self._recipe.pooling == "avg_gen":
            row.pools = [(prompt.view, [slot]) for slot in prompt.slots]
        else:
            row.pools = [(prompt.view, self._prompt_places(prompt))]
        return row

    def _shared_row(
        self, prompts: Sequence[Prompt], group: list[int], answers: list[list[int]]
    ) -> _Row:
        """Pack all prompts of one text into one row that shares their common beginning."""
        ids = [prompts[k].input_ids for k in group]
        # Each question keeps a token of its own, which is where it differs from the others.
        common = min(_common_length(ids), min(len(one) for one in ids) - 1)
        row = _Row(prompts[group[0]].text, ids[0][:common], list(range(common)), [0] * common, [])
        for k in group:
            prompt, answer = prompts[k], answers[k]
            start = len(row.input_ids) - common
            # The last generated token has no state: nothing was asked to follow it.
            own = prompt.input_ids[common:] + answer[:-1]
            row.input_ids += own
            row.positions += range(common, common + len(own))
            row.segments += [prompt.view + 1] * len(own)
            places = self._causal_places(prompt, answer)
            row.pools.append((prompt.view, [p if p < common else p + start for p in places]))
        return row

    def _causal_places(self, prompt: Prompt, answer: list[int]) -> list[int]:
        """Return the places in prompt and answer whose states are averaged, counted alone."""
        last = len(prompt.input_ids) - 1
        # The state at a token predicts the next one: it counts when that one is a word.
        follow = [last + place for place in self.kept(answer) if place > 0]
        follow = follow or ([last + 1] if len(answer) > 1 else [])
        pooling = self._recipe.pooling
        if pooling == "fst_gen" or (pooling == "last_gen" and not follow):
            return [last]
        if pooling == "avg_gen":
            return [last, *follow]
        if pooling == "last_gen":
            return follow[-1:]
        if pooling == "avg_ppt":
            return list(range(last)) or [last]
        return [*range(last + 1), *follow]

    def _decoder_places(self, answer: list[int]) -> list[int]:
        kept = self.kept(answer) or [0]
        pooling = self._recipe.pooling
        return [0] if pooling == "fst_gen" else kept[-1:] if pooling == "last_gen" else kept

    def _prompt_places(self, prompt: Prompt) -> list[int]:
        """Return the places of a joint prompt that are averaged."""
        places = list(range(len(prompt.input_ids)))
        if self._recipe.pooling == "avg_ppt" and self._recipe.model != "seq2seq":
            closing = self._recipe.row_template[-1]
            if "{" not in closing:
                places = places[:-1]
            return [place for place in places if place not in prompt.slots]
        if self._recipe.pooling in ("fst_gen", "last_gen"):
            return places[-1:]
        return places

    def _encodings(self, strings: Sequence[str]) -> Iterator[Any]:
        for run in bounded_runs(strings):
            yield from self._tokenizer.encode_batch(run, add_special_tokens=False)


@dataclass
class _Row:
    text: int
    input_ids: list[int]
    positions: list[int]
    segments: list[int]
    # A view, and the places whose states are averaged for it.
    pools: list[tuple[int, list[int]]]
    decoder_ids: list[int] | None = None


def _by_text(prompts: Sequence[Prompt]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for number, prompt in enumerate(prompts):
        groups.setdefault(prompt.text, []).append(number)
    return list(groups.values())


def _common_length(rows: list[list[int]]) -> int:
    """Count the tokens that all rows begin with."""
    shortest = min(len(row) for row in rows)
    same = np.all(np.array([row[:shortest] for row in rows]) == np.array(rows[0][:shortest]), 0)
    return shortest if same.all() else int(same.argmin())


def _pad(rows: list[_Row]) -> PackedBatch:
    """Pad rows on the right to one width and write their pooling as weights."""
    decoded = [row.decoder_ids for row in rows if row.decoder_ids is not None]
    pooled = decoded or [row.input_ids for row in rows]
    weights = np.zeros(
        (len(rows), len(rows[0].pools), max(len(one) for one in pooled)), dtype=np.float32
    )
    for number, row in enumerate(rows):
        for vector, (_, places) in enumerate(row.pools):
            weights[number, vector, places] = 1.0 / len(places)
    columns = np.flatnonzero(weights.any(axis=(0, 1)))
    return PackedBatch(
        rows=np.array([row.text for row in rows], dtype=np.int64),
        views=np.array([[view for view, _ in row.pools] for row in rows], dtype=np.int64),
        input_ids=_filled([row.input_ids for row in rows], 0),
        position_ids=_filled([row.positions for row in rows], 0),
        segment_ids=_filled([row.segments for row in rows], -1),
        columns=columns,
        pool_weights=weights[:, :, columns],
        decoder_ids=_filled(decoded, 0) if decoded else None,
    )


def _filled(rows: list[list[int]], padding: int) -> NDArray[np.int64]:
    filled = np.full((len(rows), max(len(row) for row in rows)), padding, dtype=np.int64)
    for number, row in enumerate(rows):
        filled[number, : len(row)] = row
    return filled
