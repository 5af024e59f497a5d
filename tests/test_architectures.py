"""Every architecture and strategy against plain transformers, to 1e-5."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from inbedder_retrieval import (
    GENERAL,
    CheckpointError,
    Embedder,
    InputError,
    View,
    ViewError,
    Views,
)
from inbedder_retrieval.checkpoint import find_checkpoint
from inbedder_retrieval.explain import WordHead
from inbedder_retrieval.prompting import Prompter
from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.recipes import PUBLISHED
from tests.architectures import ARCHITECTURES, CAUSAL, MASKED, build, plain_vectors, tokenizer_of

QUESTION = "How does the customer feel?"
TEXTS = [
    "the phone is broken",
    "a <mask> in the text, <mask><mask>",
    "  spaces before, newlines after \n\n",
    "love it \U0001f600\U0001f44d\U0001f3fd, très bien",
    "",
    "x",
    "{question} and {text}, said the customer",
    " ".join(f"word{k} lamp" for k in range(1000)),
]
TOLERANCE = 1e-5


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("architectures")
    return {name: build(name, root / name) for name in ARCHITECTURES}


def recipe_of(folder: Path, **changes: object) -> Recipe:
    """The derived recipe with changes, checked again as a whole."""
    derived = find_checkpoint(folder).recipe
    return Recipe.model_validate(derived.model_dump() | {"max_tokens": 160} | changes)


STRATEGIES = [
    *[
        (name, change)
        for name in MASKED
        for change in (
            {},
            {"head": "mlm"},
            {"head": "mlm", "standardize": True},
            {"pooling": "avg_ppt"},
            {"pooling": "avg_all"},
            {"layer": 1},
            {"layer": 0},
            {"cut": "start"},
        )
    ],
    *[
        (name, change)
        for name in CAUSAL
        for change in (
            {},
            {"pooling": "avg_gen"},
            {"pooling": "avg_gen", "new_tokens": 6},
            {"pooling": "last_gen"},
            {"pooling": "avg_ppt"},
            {"pooling": "avg_all"},
            {"pooling": "avg_gen", "new_tokens": 1},
            {"layer": 1},
            {"layer": 2},
            {"cut": "start"},
        )
    ],
    *[
        ("t5", change)
        for change in (
            {},
            {"pooling": "avg_gen"},
            {"pooling": "last_gen"},
            {"pooling": "avg_ppt"},
            {"layer": 1},
            {"pooling": "avg_ppt", "layer": 1},
        )
    ],
]


@pytest.mark.parametrize(
    ("name", "changes"), STRATEGIES, ids=lambda value: str(value).replace(" ", "")
)
def test_vectors_are_those_of_plain_transformers(
    folders: dict[str, Path], name: str, changes: dict[str, object]
) -> None:
    recipe = recipe_of(folders[name], **changes)
    embedder = Embedder(folders[name], recipe=recipe, backend="torch")
    views = Views.of({"feeling": QUESTION, "need": "What is needed?", "again": QUESTION})
    found = embedder.embed(TEXTS, views, token_budget=700)
    expected = plain_vectors(name, folders[name], recipe, TEXTS, QUESTION)
    assert np.abs(found["feeling"] - expected).max() < TOLERANCE
    assert np.abs(found["again"] - expected).max() < TOLERANCE
    alone = embedder.embed(TEXTS[:1], View("need", "What is needed?"))["need"]
    assert np.abs(found["need"][:1] - alone).max() < TOLERANCE
    assert found.truncated == [7]
    if recipe.layer != 0:
        # The texts differ far more than the tolerance, or this would show nothing. (A rotary
        # model's embeddings know no places, so there all masks are alike.)
        spread = np.abs(expected[:, None] - expected[None]).max(axis=-1)
        assert (spread + np.eye(len(TEXTS)) > 10 * TOLERANCE).all()


def test_the_texts_own_mask_is_no_answer_slot(folders: dict[str, Path]) -> None:
    """The authors' code takes the states at every mask token, those of the text among them."""
    recipe = recipe_of(folders["roberta"])
    embedder = Embedder(folders["roberta"], recipe=recipe)
    text = "a <mask> in the text"
    ours = embedder.embed([text], View("feeling", QUESTION))["feeling"]
    assert (
        np.abs(ours - plain_vectors("roberta", folders["roberta"], recipe, [text], QUESTION)).max()
        < TOLERANCE
    )
    model = transformers.AutoModelForMaskedLM.from_pretrained(folders["roberta"]).eval()
    prompt = recipe.prompt.replace("{text}", text).replace("{question}", QUESTION)
    ids = tokenizer_of(folders["roberta"])(prompt + "<mask>" * 3, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        states = model(ids, output_hidden_states=True).hidden_states[-1][0]
    theirs = states[ids[0] == 4].mean(0)
    assert len(states[ids[0] == 4]) == 4
    assert np.abs(ours[0] - (theirs / theirs.norm()).numpy()).max() > 100 * TOLERANCE


@pytest.mark.parametrize("name", ["opt", "llama", "qwen"])
def test_causal_prompts_share_their_text(folders: dict[str, Path], name: str) -> None:
    recipe = recipe_of(folders[name])
    prompter = Prompter(find_checkpoint(folders[name]).tokenizer(), recipe)
    views = Views.of({f"v{k}": f"What is number {k}?" for k in range(4)})
    prompts = prompter.prompts(["the phone is broken " * 5], views)
    [batch] = prompter.batches(prompts, 10_000)
    alone = [len(prompt.input_ids) for prompt in prompts]
    shared = int((batch.segment_ids[0] == 0).sum())
    assert shared > 0.5 * min(alone)
    assert batch.input_ids.shape == (1, sum(alone) - 3 * shared)


@pytest.mark.parametrize("name", CAUSAL)
def test_answers_are_what_generate_gives(folders: dict[str, Path], name: str) -> None:
    embedder = Embedder(folders[name], recipe=recipe_of(folders[name]))
    texts = ["the phone is broken", "love the lamp, thank you, happy", "x"]
    done: list[int] = []
    found = embedder.answer(
        texts, View("feeling", QUESTION), max_new_tokens=5, progress=done.append
    )
    assert done == [3]
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folders[name])
    model.eval()
    tokenizer = tokenizer_of(folders[name])
    for text, answer in zip(texts, found, strict=True):
        prompt = embedder.recipe.prompt.replace("{text}", text).replace("{question}", QUESTION)
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        grown = model.generate(ids, max_new_tokens=5, do_sample=False, pad_token_id=1)
        expected = tokenizer.decode(grown[0, ids.shape[1] :], skip_special_tokens=True)
        assert answer == str(expected).strip()


def test_a_sequence_to_sequence_model_answers_as_generate_does(folders: dict[str, Path]) -> None:
    embedder = Embedder(folders["t5"], recipe=recipe_of(folders["t5"]))
    texts = ["the phone is broken", "x"]
    found = embedder.answer(texts, View("feeling", QUESTION), max_new_tokens=6)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folders["t5"]).eval()
    tokenizer = tokenizer_of(folders["t5"])
    for text, answer in zip(texts, found, strict=True):
        prompt = embedder.recipe.prompt.replace("{text}", text).replace("{question}", QUESTION)
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        grown = model.generate(ids, max_new_tokens=6, do_sample=False)
        assert answer == str(tokenizer.decode(grown[0], skip_special_tokens=True)).strip()


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("head", ["none", "mlm"])
def test_a_masked_model_fills_its_slots(folders: dict[str, Path], name: str, head: str) -> None:
    embedder = Embedder(folders[name], recipe=recipe_of(folders[name], head=head))
    texts = ["the phone is broken", "a <mask> in the text"]
    model = transformers.AutoModelForMaskedLM.from_pretrained(folders[name]).eval()
    tokenizer = tokenizer_of(folders[name])
    for text, answer in zip(texts, embedder.answer(texts, View("f", QUESTION)), strict=True):
        prompt = embedder.recipe.prompt.replace("{text}", text).replace("{question}", QUESTION)
        ids = tokenizer(prompt + "<mask>" * 3, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            best = model(ids).logits[0, -4:-1].argmax(-1)
        assert answer == str(tokenizer.decode(best, skip_special_tokens=True)).strip()


@pytest.mark.parametrize("name", [*CAUSAL, "t5"])
def test_words_come_from_the_models_own_logits(folders: dict[str, Path], name: str) -> None:
    """The word head reads a state as the model does, with NumPy and the weights alone."""
    checkpoint = find_checkpoint(folders[name])
    head = WordHead(checkpoint)
    classes = {"t5": transformers.AutoModelForSeq2SeqLM}
    model: Any = classes.get(name, transformers.AutoModelForCausalLM).from_pretrained(folders[name])
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        if name == "t5":
            found = model(input_ids=ids, decoder_input_ids=ids, output_hidden_states=True)
            states = found.decoder_hidden_states[-1][0]
        else:
            found = model(ids, output_hidden_states=True)
            states = found.hidden_states[-1][0]
    np.testing.assert_allclose(head.logits(states.numpy()), found.logits[0].numpy(), atol=2e-4)


def test_answers_can_be_embedded_again(folders: dict[str, Path], tiny_folder: Path) -> None:
    recipe = recipe_of(folders["llama"], pooling="re_encode", re_encoder=str(tiny_folder))
    embedder = Embedder(folders["llama"], recipe=recipe)
    texts = ["the phone is broken", "love the lamp"]
    view = View("feeling", QUESTION)
    found = embedder.embed(texts, view)["feeling"]
    answers = embedder.answer(texts, view)
    expected = Embedder(tiny_folder).embed(answers, GENERAL)["general"]
    assert np.abs(found - expected).max() < TOLERANCE
    assert embedder.dimension == 32
    several = recipe.model_copy(update={"samples": 3})
    once, again = (Embedder(folders["llama"], recipe=several).embed(texts, view) for _ in "ab")
    assert np.array_equal(once["feeling"], again["feeling"])


@pytest.mark.parametrize("name", ["llama", "roberta"])
def test_nothing_of_the_vocabularys_size_is_made(
    folders: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Embedding needs no logits, and only the pooled layer leaves the model."""
    embedder = Embedder(folders[name], recipe=recipe_of(folders[name]))
    shapes: list[tuple[int, ...]] = []
    plain = torch.nn.Linear.forward

    def noting(layer: torch.nn.Linear, states: torch.Tensor) -> torch.Tensor:
        found = plain(layer, states)
        shapes.append(tuple(found.shape))
        return found

    monkeypatch.setattr(torch.nn.Linear, "forward", noting)
    embedder.embed(["the phone is broken"], View("feeling", QUESTION))
    vocabulary = find_checkpoint(folders[name]).config["vocab_size"]
    assert shapes
    assert all(shape[-1] != vocabulary for shape in shapes)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_recipes_come_back_from_their_file(name: str, tmp_path: Path) -> None:
    PUBLISHED[name].save(tmp_path)
    assert Recipe.load(tmp_path) == PUBLISHED[name]


def test_a_published_recipe_is_the_derived_one_of_its_architecture(
    folders: dict[str, Path],
) -> None:
    """The special tokens of RoBERTa, OPT and Llama are what their tokenizers put around a text."""
    for name, published in (
        ("roberta", "BrandonZYW/roberta-large-InBedder"),
        ("opt", "BrandonZYW/opt-1.3b-InBedder"),
        ("llama", "BrandonZYW/llama-2-7b-InBedder"),
    ):
        derived = find_checkpoint(folders[name]).recipe
        assert derived.row_template == PUBLISHED[published].row_template
        assert derived.prompt == PUBLISHED[published].prompt
        assert derived.pooling == PUBLISHED[published].pooling


def test_the_pair_variant_standardises_the_heads_states(folders: dict[str, Path]) -> None:
    recipe = PUBLISHED["KomeijiForce/inbedder-roberta-large"]
    found = Embedder(folders["roberta"], recipe=recipe).embed(TEXTS[:4], View("f", QUESTION))["f"]
    model = transformers.AutoModelForMaskedLM.from_pretrained(folders["roberta"]).eval()
    tokenizer = tokenizer_of(folders["roberta"])
    for text, vector in zip(TEXTS[:4], found, strict=True):
        pieces, asked = (
            tokenizer(s, add_special_tokens=False)["input_ids"] for s in (text, QUESTION)
        )
        ids = torch.tensor([[0, *pieces, 2, 2, *asked, 4, 4, 4, 2]])
        with torch.inference_mode():
            states = model.roberta(ids).last_hidden_state[0, -4:-1]
            lm = model.lm_head
            mean = lm.layer_norm(torch.nn.functional.gelu(lm.dense(states))).mean(0)
        standard = (mean - mean.mean()) / mean.std()
        assert np.abs(vector - (standard / standard.norm()).numpy()).max() < TOLERANCE


def test_a_model_without_a_language_model_head_is_refused(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "bert")
    config = folder / "config.json"
    config.write_text(config.read_text().replace("BertForMaskedLM", "BertModel"))
    with pytest.raises(CheckpointError, match="BertModel, which has no language-model head"):
        Embedder(folder)


def test_a_masked_model_without_a_mask_token_is_refused(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "bert")
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("<mask>", "<blank>"))
    with pytest.raises(CheckpointError, match="no mask token"):
        Embedder(folder)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "bert")
    config = folder / "config.json"
    found = json.loads(config.read_text()) | {"auto_map": {"AutoModelForMaskedLM": "evil.Model"}}
    config.write_text(json.dumps(found))
    mark = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Model: ...\n")
    Embedder(folder).embed(["x"], View("f", QUESTION))
    assert not mark.exists()


def test_a_model_of_sliding_windows_is_packed_only_where_rows_are_shorter(tmp_path: Path) -> None:
    folder = build("qwen", tmp_path / "qwen")
    config = folder / "config.json"
    found = json.loads(config.read_text())
    found |= {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 0}
    config.write_text(json.dumps(found))
    with pytest.raises(CheckpointError, match="looks 64 tokens far"):
        Embedder(folder)


@pytest.mark.parametrize(
    ("name", "kind", "attention", "pooling"),
    [("roberta", "encoder", "joint", "avg_all"), ("qwen", "causal", "causal", "fst_gen")],
)
def test_general_embedders_take_an_instruction_or_none(
    folders: dict[str, Path], name: str, kind: str, attention: str, pooling: str
) -> None:
    """As E5-instruct and Qwen3-Embedding are used: a mean, or the closing token's state."""
    before = ("<s>",) if name == "roberta" else ()
    recipe = Recipe.model_validate(
        {
            "name": name,
            "model": kind,
            "attention": attention,
            "row_template": (*before, "{prompt}", "</s>"),
            "prompt": "Instruct: {question}\nQuery: {text}",
            "general_prompt": "{text}",
            "pooling": pooling,
            "new_tokens": 0,
        }
    )
    text = "the phone is broken, love the lamp"
    views = Views([GENERAL, View("feeling", QUESTION)])
    found = Embedder(folders[name], recipe=recipe).embed([text, "x"], views)
    model = transformers.AutoModel.from_pretrained(folders[name]).eval()
    tokenizer = tokenizer_of(folders[name])
    prompts = {"general": text, "feeling": f"Instruct: {QUESTION}\nQuery: {text}"}
    for view, prompt in prompts.items():
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        row = torch.tensor([[*[0] * len(before), *ids, 2]])
        with torch.inference_mode():
            states = model(row).last_hidden_state[0]
        vector = states.mean(0) if pooling == "avg_all" else states[-1]
        assert np.abs(found[view][0] - (vector / vector.norm()).numpy()).max() < TOLERANCE


def test_a_question_that_leaves_no_room_is_refused(folders: dict[str, Path]) -> None:
    embedder = Embedder(folders["llama"], recipe=recipe_of(folders["llama"]))
    with pytest.raises(ViewError, match=r"question of view 'long' alone makes a prompt of \d+"):
        embedder.embed(["x"], View("long", "why and how? " * 100))
    with pytest.raises(ViewError, match="has no general view"):
        embedder.embed(["x"], GENERAL)
    with pytest.raises(InputError, match="general view asks nothing"):
        embedder.answer(["x"], GENERAL)


def test_words_of_a_byte_level_vocabulary_are_whole(folders: dict[str, Path]) -> None:
    embedder = Embedder(folders["opt"], recipe=recipe_of(folders["opt"]))
    vectors = embedder.embed(["the phone is broken", "x"], View("feeling", QUESTION))["feeling"]
    for answers in embedder.explain(vectors, top=8):
        weights = [answer.weight for answer in answers]
        assert weights == sorted(weights, reverse=True)
        assert all(answer.word == answer.word.lower().strip() for answer in answers)
        assert all(answer.word.isalnum() for answer in answers)
    with_background = embedder.explain(vectors, top=8, background=vectors[0])
    assert with_background[0] == []
