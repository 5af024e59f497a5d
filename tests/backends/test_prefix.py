"""The two streams against the packed row and against plain transformers."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer

from inbedder_retrieval import GENERAL, View, Views
from inbedder_retrieval.backends.packed import PackedModel
from inbedder_retrieval.backends.prefix import PrefixModel, attend, fits
from inbedder_retrieval.packing import PackedBatch, Packer, blocks_of, token_number
from inbedder_retrieval.recipe import Recipe
from tests.architectures import ARCHITECTURES
from tests.reference import blind_to_the_text, unit

LAYERS = 3
QUESTIONS = [
    "How does the customer feel?",
    "What is needed?",
    "which",
    "?",
    "how " * 9,
    "Which product is it about, and where is my refund, angry customer?",
]
TEXTS = [
    "the phone is broken",
    "",
    "a <mask> in the text </s> <mask>",
    "love the lamp " * 30,
    "très bien \U0001f600",
    "x",
]


@dataclass(frozen=True)
class Case:
    """A tiny model of three layers, its tokenizer, and a recipe to vary."""

    model: Any
    tokenizer: Tokenizer
    recipe: Recipe

    def varied(self, **changes: object) -> Recipe:
        return Recipe.model_validate(self.recipe.model_dump() | changes)


def case(name: str, folder: Path) -> Case:
    head, settings_, _, _, _ = ARCHITECTURES[name]
    model_class = getattr(transformers, head)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    model = model_class(
        model_class.config_class(
            vocab_size=tokenizer.get_vocab_size(),
            pad_token_id=1,
            **(settings_ | {"num_hidden_layers": LAYERS}),
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn_like(parameter)
            parameter.copy_(0.3 * noise if parameter.dim() > 1 else parameter + 0.1 * noise)
    recipe = Recipe(
        name=name,
        text_template=("<s>", "{text}", "</s>"),
        question_template=("{question}", "</s>", "<mask>"),
        answer_token="<mask>",
        general="mean",
        max_text_tokens=60,
        max_positions=200,
        first_position=2 if name == "roberta" else 0,
        question_token_type=0 if name == "roberta" else 1,
    )
    return Case(model.eval(), tokenizer, recipe)


@pytest.fixture(scope="module", params=["bert", "roberta"])
def tiny_case(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Case:
    return case(request.param, folders[request.param])


def batches(case: Case, recipe: Recipe, texts: list[str], views: Views) -> list[PackedBatch]:
    packer = Packer(case.tokenizer, recipe)
    return list(packer.batches(packer.tokenize(texts), packer.questions(views), 1000))


def tensors(arrays: dict[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}


def row_of(batch: PackedBatch) -> dict[str, NDArray[Any]]:
    names = ("input_ids", "position_ids", "segment_ids", "columns", "pool_weights")
    return {name: getattr(batch, name) for name in names}


def views_of(questions: list[str], general: int | None) -> Views:
    views = [View(f"v{k}", question) for k, question in enumerate(questions)]
    if general is not None:
        views.insert(general, GENERAL)
    return Views(views)


@torch.inference_mode()
def plain(case: Case, recipe: Recipe, text: str, question: str | None) -> NDArray[np.float32]:
    """The vectors (slots, H) of one text under one question: no padding, nothing packed."""
    ids = case.tokenizer.encode(text, add_special_tokens=False).ids[: recipe.max_text_tokens]
    one, two, slot = (
        token_number(case.tokenizer, token, "") for token in ("<s>", "</s>", "<mask>")
    )
    ids = [one, *ids, two]
    length, slots = len(ids), recipe.question_template.count("<mask>")
    if question is not None:
        asked = case.tokenizer.encode(question, add_special_tokens=False).ids
        ids += [*asked, two, *[slot] * slots]
    total = len(ids)
    closed = torch.zeros(1, 1, total, total)
    closed[..., :length, length:] = torch.finfo(torch.float32).min
    begin = length if recipe.question_start is None else recipe.question_start
    positions = [*range(length), *range(begin, begin + total - length)]
    of_question = (torch.arange(total) >= length).long()[None]
    layers = case.model.base_model.encoder.layer
    with blind_to_the_text(layers[: recipe.reads_from], total, length):
        output = case.model.base_model(
            torch.tensor([ids]),
            attention_mask=closed,
            position_ids=torch.tensor([positions]) + recipe.first_position,
            token_type_ids=of_question * recipe.question_token_type,
            output_hidden_states=True,
        )
    states = output.hidden_states[LAYERS if recipe.layer is None else recipe.layer][0]
    if question is None:
        return np.asarray(states[:length].mean(dim=0, keepdim=True))
    found = states[-slots:]
    if recipe.head == "mlm" and recipe.name == "bert":
        found = case.model.cls.predictions.transform(found)
    elif recipe.head == "mlm":
        head = case.model.lm_head
        found = head.layer_norm(torch.nn.functional.gelu(head.dense(found)))
    return np.asarray(found)


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(st.sampled_from(TEXTS) | st.text("abz ?ü", max_size=40), min_size=1, max_size=5),
    questions=st.lists(st.sampled_from(QUESTIONS), max_size=20),
    general=st.none() | st.integers(0, 20),
    slots=st.integers(1, 3),
    head=st.sampled_from(["mlm", "none"]),
    layer=st.none() | st.integers(0, LAYERS),
    start=st.none() | st.integers(0, 70),
    group_tokens=st.sampled_from([1, 16, 40, 64]),
)
def test_two_streams_give_what_one_packed_row_gives(
    tiny_case: Case,
    texts: list[str],
    questions: list[str],
    general: int | None,
    slots: int,
    head: str,
    layer: int | None,
    start: int | None,
    group_tokens: int,
) -> None:
    """In float64, where only what is computed can differ and not how it is rounded."""
    views = views_of(questions, 0 if general is None and not questions else general)
    template = ("{question}", "</s>", *["<mask>"] * slots)
    recipe = tiny_case.varied(
        question_template=template, head=head, layer=layer, question_start=start
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inbedder_retrieval.packing.GROUP_TOKENS", group_tokens)
        packed = batches(tiny_case, recipe, texts, views)
    model = copy.deepcopy(tiny_case.model).double()
    streams, rows = PrefixModel(model, recipe).eval(), PackedModel(model, recipe).eval()
    for batch in packed:
        exact = {"pool_weights": torch.from_numpy(batch.pool_weights).double()}
        with torch.inference_mode():
            ours = streams(**tensors(blocks_of(batch)) | exact)
            theirs = rows(**tensors(row_of(batch)) | exact)
        for found, wanted in zip(ours, theirs, strict=True):
            assert found.shape == wanted.shape == (*batch.views.shape, 32)
            assert (found - wanted).abs().max() < 1e-10


@pytest.mark.parametrize("count", [0, 1, 5, 20])
@pytest.mark.parametrize(
    "changes",
    [
        {"head": "mlm"},
        {"layer": 0},
        {"layer": 1},
        {"question_start": 5},
        {"reads_from": 1},
        {"question_start": 70, "reads_from": 1, "layer": 2},
        *({"question_start": 64, "reads_from": k, "head": "mlm"} for k in range(1, LAYERS)),
    ],
)
def test_two_streams_give_what_plain_transformers_gives(
    tiny_case: Case, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], count: int
) -> None:
    monkeypatch.setattr("inbedder_retrieval.packing.GROUP_TOKENS", 24)
    template = ("{question}", "</s>", "<mask>", "<mask>")
    recipe = tiny_case.varied(question_template=template, **changes)
    views = views_of([QUESTIONS[k % len(QUESTIONS)] for k in range(count)], count // 2)
    model = PrefixModel(tiny_case.model, recipe).eval()
    groups = set()
    for batch in batches(tiny_case, recipe, TEXTS, views):
        groups.add(batch.groups)
        with torch.inference_mode():
            vectors = model(**tensors(blocks_of(batch)))[0].numpy()
        for place, row in enumerate(batch.rows):
            for number, view in enumerate(views):
                found = vectors[place, batch.views[place] == number]
                wanted = plain(tiny_case, recipe, TEXTS[row], view.instruction)
                np.testing.assert_allclose(unit(found), unit(wanted), rtol=0, atol=1e-5)
    assert max(groups) > 1 or count < 5


@pytest.mark.parametrize("general", [None, 0])
def test_the_last_layer_computes_the_pooled_columns_alone(
    tiny_case: Case, general: int | None
) -> None:
    """Its keys and values are of every column; all that follows a query is of what is pooled."""
    recipe = tiny_case.varied(head="none")
    model = PrefixModel(tiny_case.model, recipe)
    widths: dict[str, list[int]] = {}
    for number, layer in enumerate(model.layers):
        for name, part in layer.named_modules():
            if isinstance(part, torch.nn.Linear):
                seen = widths.setdefault(f"{number} {name}", [])
                part.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(len(args[0])))
    [batch] = batches(tiny_case, recipe, TEXTS[:1], views_of(QUESTIONS, general))
    try:
        with torch.inference_mode():
            model(**tensors(blocks_of(batch)))
    finally:
        for part in model.modules():
            part._forward_pre_hooks.clear()
    text, total = batch.text_columns, batch.input_ids.shape[1]
    pooled = len(QUESTIONS) + (0 if general is None else text)
    assert len(batch.columns) == pooled
    for name, seen in widths.items():
        layer_number, part_name = name.split()
        if int(layer_number) < LAYERS - 1:
            assert sorted(seen) == sorted([text, total - text]), name
        elif part_name.endswith((".key", ".value")):
            assert seen == [total], name
        else:
            assert seen == [pooled], name


@pytest.mark.parametrize("start", [None, 64])
def test_layers_that_do_not_read_the_text_run_once_for_rows_that_start_alike(
    tiny_case: Case, start: int | None
) -> None:
    """So do the projections of the layer that does, whether it is the first one or not."""
    for reads_from in range(LAYERS):
        recipe = tiny_case.varied(head="none", reads_from=reads_from, question_start=start)
        model = PrefixModel(tiny_case.model, recipe)
        [batch] = batches(tiny_case, recipe, ["x", "a", "the phone"], views_of(QUESTIONS, None))
        text, total = batch.text_columns, batch.input_ids.shape[1]
        # Two lengths of three texts, where that is what decides.
        blocks = 1 if start is not None else 2
        once, each = blocks * (total - text), 3 * (total - text)
        for number, layer in enumerate(model.layers[:-1]):
            seen: dict[str, list[int]] = {"query": [], "output": []}
            parts: list[Any] = [cast("Any", layer).attention.self.query]
            parts.append(cast("Any", layer).output.dense)
            for name, part in zip(seen, parts, strict=True):
                rows = seen[name]
                part.register_forward_pre_hook(lambda _, args, rows=rows: rows.append(len(args[0])))
            try:
                with torch.inference_mode():
                    model(**tensors(blocks_of(batch)))
            finally:
                for part in parts:
                    part._forward_pre_hooks.clear()
            assert sorted(seen["query"]) == sorted(
                [3 * text, once if number <= reads_from else each]
            )
            assert sorted(seen["output"]) == sorted(
                [3 * text, once if number < reads_from else each]
            )


def test_a_question_is_compared_with_the_text_and_its_own_group_alone(
    tiny_case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inbedder_retrieval.packing.GROUP_TOKENS", 24)
    pairs: list[tuple[int, int, int]] = []

    def noting(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        allowed: torch.Tensor,
        heads: int,
    ) -> torch.Tensor:
        pairs.append((query.shape[0], query.shape[1], key.shape[1]))
        return attend(query, key, value, allowed, heads)

    model = PrefixModel(tiny_case.model, tiny_case.recipe, noting).eval()
    [batch] = batches(tiny_case, tiny_case.recipe, ["x", ""], views_of(QUESTIONS[1:4] * 5, None))
    with torch.inference_mode():
        model(**tensors(blocks_of(batch)))
    text, groups = batch.text_columns, batch.groups
    width = (batch.input_ids.shape[1] - text) // groups
    assert groups > 3
    of_a_layer = [(2, text, text), (2 * groups, width, text + width)]
    last = (2, len(batch.columns), batch.input_ids.shape[1])
    assert pairs == [*of_a_layer * (LAYERS - 1), last]


def test_what_is_in_the_padding_changes_nothing(tiny_case: Case) -> None:
    """Neither the text's nor a group's."""
    [batch] = batches(tiny_case, tiny_case.recipe, TEXTS[:3], views_of(QUESTIONS, 0))
    model = PrefixModel(tiny_case.model, tiny_case.recipe).eval()
    blocks = tensors(blocks_of(batch))
    changed = dict(blocks)
    for part in ("text", "question"):
        padding = blocks[f"{part}_segments"] < 0
        assert padding.any()
        changed[f"{part}_ids"] = torch.where(padding, 17, blocks[f"{part}_ids"])
    with torch.inference_mode():
        before, after = model(**blocks)[0], model(**changed)[0]
    assert (before - after).abs().max() < 1e-6


def test_only_models_that_are_built_so_take_two_streams(folders: dict[str, Path]) -> None:
    bert = case("bert", folders["bert"])
    joint = Recipe(
        name="joint",
        attention="joint",
        row_template=("<s>", "{prompt}", "<mask>", "</s>"),
        prompt="{text} {question}",
        answer_token="<mask>",
    )
    assert fits(bert.model, bert.recipe)
    assert not fits(bert.model, joint)
    modern = transformers.AutoModelForMaskedLM.from_pretrained(folders["modernbert"])
    assert not fits(modern, bert.recipe)
    relative = copy.deepcopy(bert.model)
    relative.config.position_embedding_type = "relative_key"
    assert not fits(relative, bert.recipe)
