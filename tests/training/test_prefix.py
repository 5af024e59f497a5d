"""Packed batches and their loss against transformers, one text under one question at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import BertForMaskedLM

from inbedder_retrieval.training.base import Base, find_base, load_model
from inbedder_retrieval.training.config import TrainConfig
from inbedder_retrieval.training.examples import Example
from inbedder_retrieval.training.plan import Batch
from inbedder_retrieval.training.prefix import PrefixRows, PrefixStudent
from inbedder_retrieval.training.teacher import Teacher
from tests.reference import blind_to_the_text, pieces, plain_tokenizer, plain_vectors, unit
from tests.training.rows import config_of, examples

SLOTS = {"question_template": ("{question}", "[SEP]", "[MASK]", "[MASK]")}


def made(folder: Path, **changes: Any) -> tuple[TrainConfig, Base, PrefixRows]:
    config = config_of(folder, "prefix", dropout=0.0, **changes)
    base = find_base(config, "tiny")
    return config, base, PrefixRows(examples(), base.tokenizer, base.recipe, config)


def loss_of(
    config: TrainConfig, base: Base, rows: PrefixRows, batch: Batch
) -> dict[str, torch.Tensor]:
    student = PrefixStudent(load_model(base), base.recipe, config.losses).eval()
    packed = rows.pack(batch)
    teacher = Teacher(load_model(base), base.recipe, rows, [batch], torch.device("cpu"))
    with torch.no_grad():
        found: dict[str, torch.Tensor] = student(**teacher(packed))
    return found


def shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.exp(values - values.max(-1, keepdims=True))
    found /= found.sum(-1, keepdims=True)
    return found


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("start", [None, 41])
def test_the_loss_of_a_batch_is_that_of_transformers_one_by_one(
    tiny_folder: Path, slots: int, start: int | None
) -> None:
    """Also where questions start at one position, and read the text in the second layer alone."""
    early = {} if start is None else {"question_start": start, "reads_from": 1}
    config, base, rows = made(tiny_folder, recipe=early | (SLOTS if slots == 2 else {}))
    chosen = (0, 10, 26, 12)
    found = loss_of(config, base, rows, Batch(chosen, 0))

    tokenizer = plain_tokenizer(tiny_folder)
    weights = load_model(base).state_dict()
    words = weights["bert.embeddings.word_embeddings.weight"].numpy().astype(np.float64)
    bias = weights["cls.predictions.bias"].numpy()
    texts = [examples()[row] for row in chosen]
    asked = [(one.text, question, answer) for one in texts for question, answer in one.pairs]
    answers = sorted({answer for _, _, answer in asked})
    embedded = unit(
        plain_vectors(tiny_folder, answers, {"general": None}, most=40)["general"]
    ).astype(np.float64)

    losses: dict[str, list[float]] = {"words": [], "shared": [], "own": []}
    for text, question, answer in asked:
        through, bare = (
            _slots(tiny_folder, text, question, slots, head=head, start=start)
            for head in (True, False)
        )
        for z, h in zip(through, bare, strict=True):
            logits = z.astype(np.float64) @ words.T + bias
            bag = pieces(tokenizer, answer)
            losses["words"].append(-np.log(shares(logits)[bag]).mean())
            own = embedded[answers.index(answer)]
            cosines = embedded @ unit(h[None])[0].astype(np.float64)
            target = shares(embedded @ own / 0.05)
            losses["shared"].append(-(target * np.log(shares(cosines / 0.05))).sum())
            losses["own"].append(1 - cosines[answers.index(answer)])
    mean = {name: float(np.mean(values)) for name, values in losses.items()}
    assert float(found["words"]) == pytest.approx(mean["words"], rel=1e-4)
    assert float(found["alignment"]) == pytest.approx(mean["shared"] + 3 * mean["own"], rel=1e-4)
    assert float(found["distillation"]) == pytest.approx(0, abs=1e-6)
    total = mean["words"] + 0.5 * (mean["shared"] + 3 * mean["own"])
    assert float(found["loss"]) == pytest.approx(total, rel=1e-4)


@torch.inference_mode()
def _slots(
    folder: Path, text: str, question: str, slots: int, *, head: bool, start: int | None
) -> list[NDArray[np.float32]]:
    """Return the state at each slot of a text and question alone, through the head or bare."""
    tokenizer = plain_tokenizer(folder)
    auto: Any = BertForMaskedLM
    model = auto.from_pretrained(folder, attn_implementation="eager").eval()
    cls, sep, mask = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", "[MASK]"])
    ids = [cls, *pieces(tokenizer, text), sep]
    length = len(ids)
    ids += [*pieces(tokenizer, question), sep, *[mask] * slots]
    attention = torch.zeros(1, 1, len(ids), len(ids))
    attention[0, 0, :length, length:] = torch.finfo(torch.float32).min
    begin = length if start is None else start
    positions = [*range(length), *range(begin, begin + len(ids) - length)]
    blind = model.bert.encoder.layer[: 0 if start is None else 1]
    with blind_to_the_text(blind, len(ids), length):
        states = model.bert(
            torch.tensor([ids]),
            attention_mask=attention,
            position_ids=torch.tensor([positions]),
            token_type_ids=torch.tensor([[0] * length + [1] * (len(ids) - length)]),
        ).last_hidden_state[0, -slots:]
    return list((model.cls.predictions.transform(states) if head else states).numpy())


def test_a_base_without_a_recipe_gets_the_packaged_models(folders: dict[str, Path]) -> None:
    for name, first, kind in (("bert", 0, 1), ("roberta", 2, 0)):
        recipe = find_base(config_of(folders[name], "prefix"), "mine").recipe
        assert (recipe.name, recipe.head, recipe.general) == ("mine", "mlm", "mean")
        assert recipe.text_template == ("<s>", "{text}", "</s>")
        assert recipe.question_template == ("{question}", "</s>", "<mask>")
        assert (recipe.first_position, recipe.question_token_type) == (first, kind)


def test_a_text_with_many_questions_is_shown_with_some_that_change(tiny_folder: Path) -> None:
    _, _, rows = made(tiny_folder, questions_per_text=2)
    lamp = next(k for k, one in enumerate(examples()) if len(one.pairs) == 3)
    assert rows.sizes[lamp, 1] == 2
    shown = {
        tuple(rows.pack(Batch((lamp,), epoch))["question_ids"].flatten().tolist())
        for epoch in range(12)
    }
    assert 1 < len(shown) <= 3
    batch = Batch((lamp, lamp), 5)
    assert all(torch.equal(a, rows.pack(batch)[name]) for name, a in rows.pack(batch).items())


def test_sizes_are_those_of_packed_batches(tiny_folder: Path) -> None:
    _, _, rows = made(tiny_folder)
    for row in range(len(rows)):
        packed = rows.pack(Batch((row,), 0))
        text, count, width = rows.sizes[row].tolist()
        assert packed["text_ids"].shape == (1, text)
        assert packed["question_ids"].shape == (1, count, width)
        assert rows.items(Batch((row,), 0)) == count


def test_long_texts_questions_and_answers_are_cut_and_counted(tiny_folder: Path) -> None:
    config = config_of(tiny_folder, "prefix", max_question_tokens=5, max_answer_tokens=3)
    base = find_base(config, "tiny")
    long = Example("the phone " * 60, (("what " * 9, "need " * 7),), "line 1")
    rows = PrefixRows([long], base.tokenizer, base.recipe, config)
    assert rows.cut == (1, 1, 1)
    assert rows.sizes.tolist() == [[42, 1, 7]]
    assert rows.pack(Batch((0,), 0))["pieces"].shape == (1, 3)


def test_an_answer_that_is_not_in_the_vocabulary_is_dropped_and_counted(tiny_folder: Path) -> None:
    config = config_of(tiny_folder, "prefix")
    base = find_base(config, "tiny")
    strange = Example("the phone", (("what?", "\u4e2d"), ("how?", "late")), "line 1")
    only = Example("the lamp", (("what?", "\u4e2d"),), "line 2")
    rows = PrefixRows([only, strange], base.tokenizer, base.recipe, config)
    assert (len(rows), rows.dropped, rows.owners.tolist()) == (1, 2, [1])


def test_bfloat16_gives_nearly_the_same_loss(tiny_folder: Path) -> None:
    config, base, rows = made(tiny_folder)
    batch = Batch((0, 10, 26), 0)
    exact = loss_of(config, base, rows, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        short = loss_of(config, base, rows, batch)
    assert float(short["loss"]) == pytest.approx(float(exact["loss"]), rel=0.05)
