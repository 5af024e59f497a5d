from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from inbedder_retrieval import GENERAL, Views
from inbedder_retrieval.bench.workload import (
    drawn_texts,
    every,
    questions,
    readable,
    room_for_text,
    texts_of_length,
    work_of,
)
from inbedder_retrieval.checkpoint import DEFAULT_MODEL, Checkpoint, find_checkpoint
from inbedder_retrieval.errors import InputError
from inbedder_retrieval.prompting import Prompter
from tests.architectures import ARCHITECTURES

TEXTS = ["the phone is broken", "where is my refund?", "a"]


def test_texts_have_the_length_that_is_claimed_and_differ() -> None:
    tokenizer = find_checkpoint(DEFAULT_MODEL).tokenizer()
    texts = texts_of_length(tokenizer, 20, 126)
    assert {len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts} == {126}
    assert len(set(texts)) == 20


def test_drawn_texts_are_the_same_each_time_and_as_long_as_asked() -> None:
    texts = list(drawn_texts(400, 1, 9))
    assert texts == list(drawn_texts(400, 1, 9))
    assert {len(text.split()) for text in texts} == set(range(1, 10))
    assert texts != list(drawn_texts(400, 1, 9, seed=1))


def test_a_text_may_be_longer_than_the_corpus() -> None:
    [text] = drawn_texts(1, 20_000, 20_000)
    assert len(text.split()) == 20_000


@pytest.mark.parametrize(
    ("count", "shortest", "longest", "message"),
    [(0, 1, 2, "at least 1"), (5, 0, 2, "0 to 2 words"), (5, 3, 2, "smaller one first")],
)
def test_texts_that_cannot_be_drawn_are_refused(
    count: int, shortest: int, longest: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        drawn_texts(count, shortest, longest)


def test_there_are_64_different_questions_and_no_more() -> None:
    views = questions(64)
    asked = [view.instruction for view in views]
    assert len(set(asked)) == 64
    assert all(asked)
    assert questions(8).names == views.names[:8]
    for count in (0, 65):
        with pytest.raises(InputError, match="choose 1 to 64"):
            questions(count)


def test_a_part_of_the_texts_is_as_long_as_the_whole() -> None:
    texts = ["a" * length for length in (9, 1, 5, 3, 7, 2, 8, 4, 6)]
    assert [len(text) for text in every(texts, 3)] == [2, 5, 8]
    assert every(texts, 1) == sorted(texts)


@pytest.mark.parametrize("name", ["tiny", "bert", "llama"])
def test_every_contender_gets_what_the_model_can_read(
    name: str, tiny_folder: Path, folders: dict[str, Path]
) -> None:
    checkpoint = find_checkpoint(tiny_folder if name == "tiny" else folders[name])
    views = questions(3)
    long = "where is my refund, " * 300
    # The tiny model reads 40 pieces, and a letter is one: a single word is too long for it.
    read, cut = readable(checkpoint, ["short", long, "x" * 90], views)
    assert cut == ([1, 2] if name == "tiny" else [1])
    assert read[0] == "short"
    assert long.startswith(read[1])
    room = room_for_text(checkpoint, views)
    for text in read:
        assert 1 <= len(checkpoint.tokenizer().encode(text, add_special_tokens=False).ids) <= room
    assert readable(checkpoint, read, views) == (read, [])


def counted(checkpoint: Checkpoint, rows: list[list[int]]) -> int:
    """Count with torch what the plain model does for rows one at a time, without its head."""
    kind = ARCHITECTURES.get(checkpoint.folder.name, ("BertForMaskedLM",))[0]
    model: Any = getattr(transformers, kind).from_pretrained(
        checkpoint.folder, attn_implementation="eager"
    )
    total = 0
    for row in rows:
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            model.base_model(torch.tensor([row]))
        total += counter.get_total_flops()
    return total


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_operations_of_whole_prompts_are_those_torch_counts(
    name: str, folders: dict[str, Path]
) -> None:
    checkpoint = find_checkpoint(folders[name])
    views = questions(3)
    prompts = Prompter(checkpoint.tokenizer(), checkpoint.recipe).prompts(TEXTS, views)
    rows = [prompt.input_ids for prompt in prompts]
    work = work_of(checkpoint, TEXTS, views)
    assert work.tokens == sum(map(len, rows))
    assert work.operations == counted(checkpoint, rows)


def test_operations_of_packed_rows_leave_out_what_the_text_does_not_look_at(
    tiny_checkpoint: Checkpoint,
) -> None:
    """A text and a question as one row, less the keys of the question that the text is spared."""
    tokenizer = tiny_checkpoint.tokenizer()
    views = questions(2)
    first, second = (
        len(tokenizer.encode(view.instruction or "", add_special_tokens=False).ids) + 2
        for view in views
    )
    lengths = [len(tokenizer.encode(t, add_special_tokens=False).ids) + 2 for t in TEXTS]
    alone = counted(tiny_checkpoint, [[1] * length for length in lengths])
    expected = -alone
    for question in (first, second):
        expected += counted(tiny_checkpoint, [[1] * (length + question) for length in lengths])
        expected -= sum(4 * 2 * 32 * length * question for length in lengths)
    work = work_of(tiny_checkpoint, TEXTS, views)
    assert work.tokens == sum(lengths) + len(TEXTS) * (first + second)
    assert work.operations == expected


def test_operations_of_layers_that_do_not_read_the_text_are_none_of_a_texts(
    tiny_checkpoint: Checkpoint,
) -> None:
    """Of two layers half is left of what the questions take; where they start decides whether."""
    views = questions(2)
    changed = [
        tiny_checkpoint.recipe.model_copy(update={"reads_from": 1, "question_start": start})
        for start in (None, 64)
    ]
    whole = work_of(tiny_checkpoint, TEXTS, views)
    by_length, once = (
        work_of(replace(tiny_checkpoint, recipe=one), TEXTS, views) for one in changed
    )
    texts = work_of(tiny_checkpoint, TEXTS, Views([GENERAL]))
    assert by_length == whole
    assert once.tokens == whole.tokens
    assert once.operations is not None
    assert whole.operations is not None
    assert texts.operations is not None
    assert 2 * (whole.operations - once.operations) == whole.operations - texts.operations


@pytest.mark.parametrize("name", ["opt", "llama", "qwen"])
def test_operations_of_causal_rows_are_those_of_their_different_beginnings(
    name: str, folders: dict[str, Path]
) -> None:
    checkpoint = find_checkpoint(folders[name])
    views = questions(2)
    prompts = Prompter(checkpoint.tokenizer(), checkpoint.recipe).prompts(TEXTS, views)
    beginnings = {
        (prompt.text, *prompt.input_ids[:end])
        for prompt in prompts
        for end in range(1, len(prompt.input_ids) + 1)
    }
    assert work_of(checkpoint, TEXTS, views).tokens == len(beginnings)
    # Under one question: what torch counts, less the keys that stand behind a token.
    rows = [prompt.input_ids for prompt in prompts if prompt.view == 0]
    behind = sum(len(row) * (len(row) - 1) // 2 for row in rows)
    expected = counted(checkpoint, rows) - 4 * 2 * 32 * behind
    # Rotary positions are a product too, of less than a hundredth.
    assert work_of(checkpoint, TEXTS, views[:1]).operations == pytest.approx(expected, rel=0.01)


def test_operations_are_not_counted_where_a_decoder_runs(folders: dict[str, Path]) -> None:
    work = work_of(find_checkpoint(folders["t5"]), TEXTS, questions(1))
    assert work.tokens > 0
    assert work.operations is None
