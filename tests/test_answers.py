"""Answers and answer words of every architecture, against plain transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from inbedder_retrieval import (
    GENERAL,
    Embedder,
    View,
)
from inbedder_retrieval.checkpoint import find_checkpoint
from inbedder_retrieval.explain import WordHead
from tests.architectures import (
    CAUSAL,
    MASKED,
    QUESTION,
    TOLERANCE,
    recipe_of,
    tokenizer_of,
)


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


def test_filtered_words_are_left_out_of_what_is_embedded_again(
    folders: dict[str, Path], tiny_folder: Path
) -> None:
    plain = recipe_of(folders["llama"], pooling="re_encode", re_encoder=str(tiny_folder))
    view = View("feeling", QUESTION)
    text = "the phone is broken"
    [answer] = Embedder(folders["llama"], recipe=plain).answer([text], view)
    tokenizer = find_checkpoint(folders["llama"]).tokenizer()
    first = tokenizer.decode(tokenizer.encode(answer, add_special_tokens=False).ids[:1])
    filtered = plain.model_copy(update={"filter_words": (first,)})
    found = Embedder(folders["llama"], recipe=filtered).embed([text], view)["feeling"]
    ids = tokenizer.encode(answer, add_special_tokens=False).ids
    left = tokenizer.decode([token for token in ids if token != ids[0]]).strip()
    assert left != answer
    expected = Embedder(tiny_folder).embed([left], GENERAL)["general"]
    assert np.abs(found - expected).max() < TOLERANCE


def test_many_vectors_are_read_in_parts(folders: dict[str, Path]) -> None:
    embedder = Embedder(folders["llama"], recipe=recipe_of(folders["llama"]))
    vectors = np.random.default_rng(0).standard_normal((600, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    done: list[int] = []
    read = embedder.explain(vectors, progress=done.append)
    assert (len(read), done[-1]) == (600, 600)
    assert len(done) > 1
    [alone] = embedder.explain(vectors[599:])
    assert [answer.word for answer in read[599]] == [answer.word for answer in alone]
