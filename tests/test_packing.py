from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from inbedder_retrieval import (
    GENERAL,
    CheckpointError,
    TextError,
    View,
    ViewError,
    Views,
)
from inbedder_retrieval.checkpoint import Checkpoint
from inbedder_retrieval.packing import (
    BLOCKS,
    PackedBatch,
    Packer,
    TokenizedTexts,
    blocks_of,
    may_attend,
)
from tests.reference import pieces, plain_tokenizer

VIEWS = Views([View("a", "how?"), GENERAL, View("b", "what does the customer need?")])


@pytest.fixture(scope="module")
def packer(tiny_checkpoint: Checkpoint) -> Packer:
    return Packer(tiny_checkpoint.tokenizer(), tiny_checkpoint.recipe)


@pytest.fixture(scope="module")
def tokenizer(tiny_folder: Path) -> Any:
    return plain_tokenizer(tiny_folder)


def pack(packer: Packer, texts: list[str], views: Views, budget: int) -> list[PackedBatch]:
    return list(packer.batches(packer.tokenize(texts), packer.questions(views), budget))


def pooled_from(batch: PackedBatch) -> NDArray[np.float32]:
    """The pool weights over all columns (B, V, S)."""
    whole = np.zeros((*batch.pool_weights.shape[:2], batch.input_ids.shape[1]), dtype=np.float32)
    whole[:, :, batch.columns] = batch.pool_weights
    return whole


def pieces_of(texts: TokenizedTexts) -> list[list[int]]:
    return [part.tolist() for part in np.split(texts.pieces, texts.starts[1:-1])]


TEXTS = st.lists(
    st.text("abz ?ü😀\n", max_size=70) | st.sampled_from(["[MASK] [SEP]", "the phone " * 30]),
    max_size=7,
)
QUESTIONS = st.lists(
    st.none() | st.text("how?ü ", min_size=1, max_size=12).filter(lambda q: bool(q.strip())),
    min_size=1,
    max_size=4,
).filter(lambda questions: questions.count(None) <= 1)


@settings(max_examples=50, deadline=None)
@given(
    texts=TEXTS,
    questions=QUESTIONS,
    budget=st.integers(1, 300),
    group_tokens=st.sampled_from([1, 7, 20, 64]),
)
@example(texts=["", "a" * 70], questions=[None], budget=100, group_tokens=64)
@example(texts=["a"], questions=["how?", None, "h" * 12, "?"], budget=100, group_tokens=7)
def test_every_batch_holds_what_the_docstring_draws(
    packer: Packer,
    tokenizer: Any,
    texts: list[str],
    questions: list[str | None],
    budget: int,
    group_tokens: int,
) -> None:
    views = Views(GENERAL if q is None else View(f"v{k}", q) for k, q in enumerate(questions))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inbedder_retrieval.packing.GROUP_TOKENS", group_tokens)
        batches = pack(packer, texts, views, budget)
    assert sorted(int(row) for batch in batches for row in batch.rows) == list(range(len(texts)))
    cls, sep, mask = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", "[MASK]"])
    for batch in batches:
        assert batch.input_ids.size <= budget or len(batch.rows) == 1
        assert (np.diff(batch.columns) > 0).all()
        assert batch.pool_weights.any(axis=(0, 1)).all()
        whole = pooled_from(batch)
        for place, row in enumerate(batch.rows):
            segments, weights = batch.segment_ids[place], whole[place]
            text = [cls, *pieces(tokenizer, texts[row])[:40], sep]
            wanted = {0: text} | {
                k + 1: [*pieces(tokenizer, q), sep, mask]
                for k, q in enumerate(questions)
                if q is not None
            }
            assert set(segments) - {-1} == set(wanted)
            for segment, ids in wanted.items():
                columns = segments == segment
                assert batch.input_ids[place][columns].tolist() == ids
                first = len(text) if segment else 0
                assert batch.position_ids[place][columns].tolist() == list(
                    range(first, first + len(ids))
                )
            assert batch.views[place].tolist() == sorted(
                range(len(questions)), key=lambda k: questions[k] is not None
            )
            for vector, k in enumerate(batch.views[place]):
                question = questions[k]
                pooled = np.zeros(len(segments))
                if question is None:
                    pooled[segments == 0] = 1 / len(text)
                else:
                    pooled[np.flatnonzero(segments == k + 1)[-1]] = 1
                np.testing.assert_allclose(weights[vector], pooled, rtol=0, atol=1e-7)


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=20),
    group_tokens=st.integers(1, 40),
)
def test_questions_stand_in_groups_that_none_of_them_leaves(
    packer: Packer, lengths: list[int], group_tokens: int
) -> None:
    """And there are no more groups than the tokens need at the width that was wanted."""
    views = Views(View(f"v{k}", "the " * length) for k, length in enumerate(lengths))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inbedder_retrieval.packing.GROUP_TOKENS", group_tokens)
        [batch] = pack(packer, ["a phone"], views, budget=1)
        block = packer.questions(views)
    blocks = blocks_of(batch)
    total = sum(lengths) + 2 * len(lengths)
    assert blocks["question_ids"].shape == (1, *block.input_ids.shape)
    assert batch.groups == len(block.input_ids)
    assert batch.groups <= -(-total // group_tokens)
    assert (block.segment_ids >= 0).sum() == total
    homes = [np.flatnonzero((block.segment_ids == k + 1).any(axis=1)) for k in range(len(views))]
    assert all(len(home) == 1 for home in homes)


def test_a_batch_is_cut_into_its_two_blocks(packer: Packer) -> None:
    [batch] = pack(packer, ["a", "the phone"], VIEWS, budget=100)
    blocks = blocks_of(batch)
    rows, groups = 2, batch.groups
    assert tuple(blocks) == BLOCKS
    for part, whole in (("ids", batch.input_ids), ("segments", batch.segment_ids)):
        asked = blocks[f"question_{part}"][blocks["question_rows"]].reshape(rows, -1)
        assert (np.concatenate([blocks[f"text_{part}"], asked], 1) == whole).all()
    assert blocks["text_ids"].shape == (rows, 4)
    # Texts of two lengths, at which the questions start.
    assert blocks["question_ids"].shape[:2] == (2, groups)
    # [CLS] the phone [SEP] of the general view, and both answers.
    assert blocks["pooled_segments"].tolist() == [[0, 0, 0, -1, 1, 3], [0, 0, 0, 0, 1, 3]]


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    start=st.none() | st.integers(0, 30),
)
def test_questions_that_start_alike_are_given_once(
    tiny_checkpoint: Checkpoint, lengths: list[int], start: int | None
) -> None:
    recipe = tiny_checkpoint.recipe.model_copy(update={"question_start": start})
    packer = Packer(tiny_checkpoint.tokenizer(), recipe)
    [batch] = pack(packer, ["a " * length for length in lengths], VIEWS, budget=10_000)
    blocks = blocks_of(batch)
    different = len(set(lengths)) if start is None else 1
    assert len(blocks["question_ids"]) == different
    placed = blocks["question_positions"][blocks["question_rows"]].reshape(len(lengths), -1)
    assert (placed == batch.position_ids[:, batch.text_columns :]).all()
    for row, first in zip(batch.rows, placed[:, 0], strict=True):
        assert first == (lengths[row] + 2 if start is None else start)


@settings(max_examples=50, deadline=None)
@given(
    segments=hnp.arrays(
        np.int64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(-1, 3)
    )
)
def test_a_token_sees_the_text_and_its_own_question(segments: NDArray[np.int64]) -> None:
    allowed = may_attend(segments)
    rows, tokens = segments.shape
    assert allowed.shape == (rows, tokens, tokens)
    for row, query, key in product(range(rows), range(tokens), range(tokens)):
        asks, seen = segments[row, query], segments[row, key]
        assert allowed[row, query, key] == (seen == 0 or (seen > 0 and seen == asks))


def test_texts_of_like_length_share_a_batch(packer: Packer) -> None:
    texts = ["a " * 30, "a", "a " * 29, "b"]
    batches = pack(packer, texts, Views([View("a", "how?")]), budget=80)
    assert [batch.rows.tolist() for batch in batches] == [[1, 3], [2, 0]]


def test_a_budget_is_used_up_before_a_new_batch_begins(packer: Packer) -> None:
    """A row is [CLS] a [SEP] and how ? [SEP] [MASK]: seven tokens."""
    batches = pack(packer, ["a"] * 7, Views([View("a", "how?")]), budget=21)
    assert [batch.input_ids.shape for batch in batches] == [(3, 7), (3, 7), (1, 7)]


def test_every_answer_slot_has_a_vector_of_its_own(tiny_checkpoint: Checkpoint) -> None:
    recipe = tiny_checkpoint.recipe.model_copy(
        update={"question_template": ("[MASK]", "{question}", "[SEP]", "[MASK]")}
    )
    packer = Packer(tiny_checkpoint.tokenizer(), recipe)
    [batch] = pack(packer, ["a"], Views([View("a", "how?"), View("b", "what?")]), budget=100)
    assert batch.views.tolist() == [[0, 0, 1, 1]]
    mask = tiny_checkpoint.tokenizer().token_to_id("[MASK]")
    where = batch.columns[batch.pool_weights[0].argmax(axis=1)]
    assert (batch.pool_weights[0].sum(axis=1) == 1).all()
    assert where.tolist() == np.flatnonzero(batch.input_ids[0] == mask).tolist()
    assert batch.segment_ids[0][where].tolist() == [1, 1, 2, 2]


def test_positions_count_from_the_recipes_first(
    packer: Packer, tiny_checkpoint: Checkpoint
) -> None:
    recipe = tiny_checkpoint.recipe.model_copy(update={"first_position": 2})
    shifted = Packer(tiny_checkpoint.tokenizer(), recipe)
    [here] = pack(shifted, ["a", "b c"], VIEWS, budget=100)
    [there] = pack(packer, ["a", "b c"], VIEWS, budget=100)
    real = there.segment_ids >= 0
    assert (here.position_ids[real] == there.position_ids[real] + 2).all()


def test_a_text_of_special_tokens_moves_no_answer_slot(packer: Packer) -> None:
    [batch] = pack(packer, ["[MASK] [SEP] [MASK]"], VIEWS, budget=100)
    assert batch.views.tolist() == [[1, 0, 2]]
    asked = pooled_from(batch)[0, 1:]
    assert (asked > 0).sum(axis=1).tolist() == [1, 1]
    assert (batch.segment_ids[0][asked.argmax(axis=1)] == [1, 3]).all()
    assert [batch.columns[-2], batch.columns[-1]] == asked.argmax(axis=1).tolist()


def test_a_text_is_cut_and_reported_and_its_last_token_stays(packer: Packer) -> None:
    found = packer.tokenize(["a " * 40, "a " * 41, "", "b " * 2000])
    assert found.truncated == [1, 3]
    pieces = pieces_of(found)
    assert [len(ids) for ids in pieces] == [40, 40, 0, 40]
    assert pieces[1] == pieces[0]
    [batch] = pack(packer, ["a " * 41], Views([GENERAL]), budget=1)
    separator = packer.questions(VIEWS).input_ids[0, -2]
    assert batch.input_ids[0][batch.segment_ids[0] == 0][-1] == separator


def test_a_question_is_never_cut(packer: Packer) -> None:
    """Of 96 positions the longest text takes 42 and [SEP] [MASK] two."""
    longest = View("a", "the " * 52)
    [batch] = pack(packer, ["a " * 100], Views([longest, GENERAL]), budget=1)
    assert batch.position_ids.max() == 95
    with pytest.raises(ViewError, match="'b' is 53 word pieces long; tiny takes 52 at most"):
        packer.questions(Views([GENERAL, longest, View("b", "the " * 53)]))


def test_a_question_that_the_tokenizer_drops_keeps_its_answer_slot(packer: Packer) -> None:
    [batch] = pack(packer, ["a"], Views([View("a", "\u200b"), View("b", "?")]), budget=100)
    assert batch.segment_ids.tolist() == [[0, 0, 0, 1, 1, 2, 2, 2]]
    assert batch.columns[batch.pool_weights[0].argmax(axis=1)].tolist() == [4, 7]


def test_a_model_without_a_general_view_refuses_it(tiny_checkpoint: Checkpoint) -> None:
    recipe = tiny_checkpoint.recipe.model_copy(update={"general": "none"})
    with pytest.raises(ViewError, match="tiny has no general view; ask it a question"):
        Packer(tiny_checkpoint.tokenizer(), recipe).questions(VIEWS)


def test_a_template_token_that_the_tokenizer_lacks_is_refused(tiny_checkpoint: Checkpoint) -> None:
    recipe = tiny_checkpoint.recipe.model_copy(update={"text_template": ("<s>", "{text}")})
    with pytest.raises(CheckpointError, match="uses the token '<s>'"):
        Packer(tiny_checkpoint.tokenizer(), recipe)


@pytest.mark.parametrize("wrong", [None, 5, b"a", ["a"]])
def test_a_text_that_is_no_string_is_named(packer: Packer, wrong: str) -> None:
    with pytest.raises(TextError, match=f"text 12 is {type(wrong).__name__}; a text must be"):
        packer.tokenize(["a", "b", wrong], first=10)


def test_a_text_cut_inside_an_emoji_is_named(packer: Packer) -> None:
    with pytest.raises(TextError, match=r"text 11 holds the lone surrogate U\+DE00"):
        packer.tokenize(["a", "b \ude00", "c"], first=10)


def test_many_texts_are_tokenized_a_few_at_a_time(
    packer: Packer, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["the phone " * 30, "", "a", "b " * 41, "what?", ""]
    whole = packer.tokenize(texts)
    monkeypatch.setattr("inbedder_retrieval.texts.TOKENIZER_CHARACTERS", 4)
    parts = packer.tokenize(texts)
    assert parts.truncated == whole.truncated == [0, 3]
    assert pieces_of(parts) == pieces_of(whole)
    with pytest.raises(TextError, match="text 7 holds the lone surrogate"):
        packer.tokenize([*texts, "a", "\ud800"])


def test_a_text_may_be_cut_at_its_start(packer: Packer, tiny_checkpoint: Checkpoint) -> None:
    recipe = tiny_checkpoint.recipe.model_copy(update={"cut": "start"})
    found = Packer(tiny_checkpoint.tokenizer(), recipe).tokenize(["b " + "a " * 40, "a b"])
    assert found.truncated == [0]
    assert pieces_of(found) == pieces_of(packer.tokenize(["a " * 40, "a b"]))


@pytest.mark.parametrize(
    "template", [("[CLS]", "{text}"), ("{text}", "[SEP]"), ("[CLS]", "[MASK]", "{text}", "[SEP]")]
)
def test_a_template_may_have_tokens_on_one_side_only(
    tiny_checkpoint: Checkpoint, template: tuple[str, ...]
) -> None:
    recipe = tiny_checkpoint.recipe.model_copy(update={"text_template": template})
    tokenizer = tiny_checkpoint.tokenizer()
    [batch] = pack(Packer(tokenizer, recipe), ["the phone", ""], VIEWS, budget=100)
    for place, row in enumerate(batch.rows):
        text = [["the", "phone"], []][row]
        middle = template.index("{text}")
        wanted = [*template[:middle], *text, *template[middle + 1 :]]
        ids = batch.input_ids[place][batch.segment_ids[place] == 0]
        assert [tokenizer.id_to_token(k) for k in ids] == wanted
        general = pooled_from(batch)[place, batch.views[place].tolist().index(1)]
        assert general.sum() == pytest.approx(1)


def test_no_questions_leave_one_column_of_padding(packer: Packer) -> None:
    """A block of no columns at all is what no backend has to know."""
    [batch] = pack(packer, ["a", ""], Views([GENERAL]), budget=100)
    blocks = blocks_of(batch)
    assert blocks["question_ids"].shape == (2, 1, 1)
    assert (blocks["question_segments"] == -1).all()
    assert sorted(blocks["question_rows"]) == [0, 1]
    assert blocks["columns"].tolist() == [0, 1, 2]


def test_a_batch_that_is_half_full_is_closed_before_padding_fills_it(
    packer: Packer, views: Views
) -> None:
    """A short text is not padded to a long one's length where it fills a batch with its like."""
    texts = ["a " * (1 + number % 40) for number in range(400)]
    found = pack(packer, texts, views, 4000)
    assert sorted(np.concatenate([batch.rows for batch in found]).tolist()) == list(range(400))
    for batch in found:
        assert batch.input_ids.size <= 4000
        # Padding inside a group of questions is every row's; what is meant here is the texts'.
        texts_part = batch.segment_ids[:, : batch.text_columns]
        padding = int((texts_part < 0).sum())
        assert padding <= 0.05 * batch.input_ids.size or batch.input_ids.size <= 2000
