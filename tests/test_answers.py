"""Answers, answer words and answer queries of every architecture, against plain transformers."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from inbedder_retrieval import (
    GENERAL,
    Embedder,
    TextError,
    View,
    ViewError,
)
from inbedder_retrieval.checkpoint import find_checkpoint
from inbedder_retrieval.demo import DEMO_VIEWS, LABELS, demo_documents
from inbedder_retrieval.explain import WordHead
from inbedder_retrieval.testing import FakeEmbedder
from tests import reference
from tests.architectures import (
    CAUSAL,
    MASKED,
    QUESTION,
    TOLERANCE,
    plain_vectors,
    recipe_of,
    tokenizer_of,
)
from tests.conftest import QUESTIONS

ANSWERS = ["refund", "the phone is late", "7", "ü"]
SCRIPT = Path(__file__).parents[1] / "docs" / "answers.py"


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


def test_an_answer_query_is_the_answers_general_vector_under_every_question(
    tiny: Embedder, tiny_folder: Path
) -> None:
    plain = reference.plain_vectors(tiny_folder, ANSWERS, {"general": None}, most=40)["general"]
    found = tiny.embed_answers(iter(ANSWERS), QUESTIONS)
    assert list(found) == list(QUESTIONS)
    for vectors in found.values():
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, reference.unit(plain), rtol=0, atol=TOLERANCE)


def test_the_vectors_of_each_view_are_the_callers_own(tiny: Embedder) -> None:
    found = tiny.embed_answers(["refund"], QUESTIONS)
    before = found["need"].copy()
    found["feeling"][:] = 0
    assert (found["need"] == before).all()


def test_answers_find_the_messages_that_give_them(packaged: Embedder) -> None:
    """At least as well as the same words read as a message, and far better than in other views."""
    documents = demo_documents()
    views = [DEMO_VIEWS[label] for label in LABELS]
    vectors = packaged.embed([document.text for document in documents], views)
    least = {"product": 0.9, "feeling": 0.5, "need": 0.7}
    for label in LABELS:
        held = np.array([document.metadata[label] for document in documents])
        answers = sorted(set(held))
        queries = packaged.embed_answers(answers, views)[label]
        precision = {
            name: np.mean(
                [
                    average_precision_score(held == answer, vectors[view] @ query)
                    for answer, query in zip(answers, rows, strict=True)
                ]
            )
            for name, view, rows in [
                ("answer", label, queries),
                ("text", label, packaged.embed(answers, views)[label]),
                *[(other, other, queries) for other in LABELS if other != label],
            ]
        }
        assert precision["answer"] > least[label]
        assert precision["answer"] > max(precision.values()) - 0.01


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *[(name, {}) for name in (*MASKED, *CAUSAL, "t5")],
        ("roberta", {"head": "mlm", "standardize": True}),
        ("roberta", {"pooling": "avg_ppt"}),
        ("llama", {"pooling": "avg_gen"}),
        ("qwen", {"layer": 1}),
        ("t5", {"pooling": "avg_ppt"}),
    ],
    ids=str,
)
def test_a_model_without_a_general_view_reads_the_answer_as_a_text(
    folders: dict[str, Path], name: str, changes: dict[str, object]
) -> None:
    recipe = recipe_of(folders[name], **changes)
    found = Embedder(folders[name], recipe=recipe).embed_answers(ANSWERS, View("f", QUESTION))["f"]
    expected = plain_vectors(name, folders[name], recipe, ANSWERS, QUESTION)
    assert np.abs(found - expected).max() < TOLERANCE


def test_a_prompt_for_plain_text_is_what_answers_are_read_with(folders: dict[str, Path]) -> None:
    recipe = recipe_of(folders["qwen"], general_prompt="{text}")
    found = Embedder(folders["qwen"], recipe=recipe).embed_answers(
        ANSWERS, {"general": None, "feeling": QUESTION}
    )
    model = transformers.AutoModel.from_pretrained(folders["qwen"]).eval()
    tokenizer = tokenizer_of(folders["qwen"])
    for row, answer in enumerate(ANSWERS):
        with torch.inference_mode():
            states = model(**tokenizer(answer, return_tensors="pt")).last_hidden_state[0]
        expected = reference.unit(states[-1].numpy())
        for name in ("general", "feeling"):
            np.testing.assert_allclose(found[name][row], expected, rtol=0, atol=TOLERANCE)


def test_where_answers_are_embedded_again_so_is_the_query(
    folders: dict[str, Path], tiny_folder: Path
) -> None:
    recipe = recipe_of(folders["llama"], pooling="re_encode", re_encoder=str(tiny_folder))
    found = Embedder(folders["llama"], recipe=recipe).embed_answers(ANSWERS, View("f", QUESTION))
    plain = reference.plain_vectors(tiny_folder, ANSWERS, {"general": None}, most=40)["general"]
    np.testing.assert_allclose(found["f"], reference.unit(plain), rtol=0, atol=TOLERANCE)


def test_a_long_answer_is_cut_and_counted(tiny: Embedder) -> None:
    found = tiny.embed_answers(["refund", "phone " * 41, "phone " * 40], QUESTIONS)
    assert (found.truncated, found.empty) == ([1], [])
    np.testing.assert_allclose(found["need"][1], found["need"][2], rtol=0, atol=TOLERANCE)


def test_no_answers_give_no_rows(tiny: Embedder, folders: dict[str, Path]) -> None:
    joint = Embedder(folders["roberta"], recipe=recipe_of(folders["roberta"]))
    for embedder in (tiny, joint, FakeEmbedder()):
        assert embedder.embed_answers([], View("f", QUESTION))["f"].shape == (0, 32)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("", "answer 1 is '', which says nothing; give the answer"),
        (" \n\u3000", "which says nothing"),
        (None, "answer 1 is NoneType; an answer must be a string"),
        (b"refund", "answer 1 is bytes"),
        (["refund"], "answer 1 is list"),
        ("happy \ud83d", r"answer 1 holds the lone surrogate U\+D83D"),
    ],
)
def test_what_is_no_answer_is_named(tiny: Embedder, wrong: Any, message: str) -> None:
    for embedder in (tiny, FakeEmbedder()):
        with pytest.raises(TextError, match=message):
            embedder.embed_answers(["refund", wrong], View("f", QUESTION))


def test_one_bare_string_is_no_list_of_answers(tiny: Embedder) -> None:
    for embedder in (tiny, FakeEmbedder()):
        with pytest.raises(TextError, match="one string was given"):
            embedder.embed_answers("refund", View("f", QUESTION))


def test_views_that_documents_cannot_have_are_refused(
    tiny: Embedder, folders: dict[str, Path]
) -> None:
    with pytest.raises(ViewError, match="'long' is 60 word pieces long"):
        tiny.embed_answers(["refund"], View("long", "how " * 60))
    joint = Embedder(folders["roberta"], recipe=recipe_of(folders["roberta"]))
    with pytest.raises(ViewError, match="has no general view"):
        joint.embed_answers(["refund"], GENERAL)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-50, 50), st.booleans()), min_size=1, unique_by=lambda x: x[0])
)
def test_the_cards_figures_are_average_precisions(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in rows], dtype=np.float32)
    relevant = np.array([held for _, held in rows])
    relevant[0] = True
    average_precision: Callable[..., float] = runpy.run_path(str(SCRIPT))["average_precision"]
    expected = average_precision_score(relevant, scores)
    assert average_precision(scores, relevant) == pytest.approx(expected)


def test_the_cards_table_is_made_from_what_was_measured(packaged: Embedder) -> None:
    script = runpy.run_path(str(SCRIPT))
    documents = demo_documents()[::5]
    measured = script["measured"](documents)
    held = np.array([document.metadata["need"] for document in documents])
    answers = sorted(set(held))
    view = DEMO_VIEWS["need"]
    vectors = packaged.embed([document.text for document in documents], view)["need"]
    for way, queries in [
        ("its general vector", packaged.embed(answers, GENERAL)["general"]),
        ("as a text, under the question", packaged.embed(answers, view)["need"]),
    ]:
        expected = np.mean(
            [
                average_precision_score(held == answer, vectors @ query)
                for answer, query in zip(answers, queries, strict=True)
            ]
        )
        assert measured[way]["need"][0] == pytest.approx(expected, abs=0.01)
        assert [len(measured[way][label]) for label in LABELS] == [4, 4, 4]
    table = script["table"]({"a": {label: [0.5, 0.25, 0.75] for label in LABELS}})
    assert table.splitlines()[2] == "| a |" + " 50.0, 50.0 |" * 3


def test_a_page_without_a_place_for_the_table_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a <!-- answers --> z", encoding="utf-8")
    with pytest.raises(SystemExit, match="put both where this belongs"):
        runpy.run_path(str(SCRIPT))["main"](["--into", str(page)])
    assert page.read_text(encoding="utf-8") == "a <!-- answers --> z"
