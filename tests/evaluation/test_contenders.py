from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from inbedder_retrieval import GENERAL, Embedder, View
from inbedder_retrieval.errors import CheckpointError, MissingExtraError
from inbedder_retrieval.evaluation.contenders import of_embedder, of_sentence_transformers

TEXTS = ["the phone is broken", "where is my refund", "the phone is broken", "", "how?"]
FEEL, NEED = "How does the customer feel?", "What does the customer need?"
QUESTIONS = [FEEL, NEED, None, FEEL, NEED]


def test_an_embedder_is_asked_each_question_of_its_text(tiny: Embedder) -> None:
    asked, general = of_embedder(tiny, "tiny")
    assert [(one.name, one.model, one.asks) for one in (asked, general)] == [
        ("tiny", "tiny", True),
        ("tiny, no question", "tiny", False),
    ]
    found, without = asked.ask(TEXTS, QUESTIONS), general.ask(TEXTS, QUESTIONS)
    for row, (text, question) in enumerate(zip(TEXTS, QUESTIONS, strict=True)):
        view = GENERAL if question is None else View("v", question)
        alone = tiny.embed([text], view)[view.name][0]
        np.testing.assert_allclose(found[row], alone, atol=1e-5)
        np.testing.assert_allclose(
            without[row], tiny.embed([text], GENERAL)["general"][0], atol=1e-5
        )


def test_more_questions_than_are_packed_at_once_are_asked_in_turns(tiny: Embedder) -> None:
    asked, _ = of_embedder(tiny, "tiny")
    questions = [f"what {k}?" for k in range(70)]
    found = asked.ask(["the phone"] * 70, questions)
    for row in (0, 63, 64, 69):
        alone = tiny.embed(["the phone"], View("v", questions[row]))["v"][0]
        np.testing.assert_allclose(found[row], alone, atol=1e-5)


def test_the_clusters_words_are_the_embedders(packaged: Embedder) -> None:
    asked, _ = of_embedder(packaged, "packaged")
    assert asked.explain is not None
    vectors = asked.ask(["I am furious!", "I love it."], [FEEL, FEEL])
    mean = vectors.mean(axis=0)
    assert asked.explain(vectors, mean) == packaged.explain(vectors, top=3, background=mean)


def test_a_model_without_a_general_view_has_none(folders: dict[str, Path]) -> None:
    found = of_embedder(Embedder(folders["llama"], backend="torch"), "llama")
    assert [one.asks for one in found] == [True]


def test_a_model_of_sentence_transformers_reads_the_text_alone_and_after_the_question(
    tiny_folder: Path, tmp_path: Path
) -> None:
    library = pytest.importorskip("sentence_transformers")
    # A bare checkpoint is loaded with the mean of its states.
    model = library.SentenceTransformer(str(tiny_folder), device="cpu")
    model.save(str(tmp_path / "st"))
    within, without = of_sentence_transformers(tmp_path / "st", "st")
    assert [(one.name, one.asks) for one in (within, without)] == [
        ("st, question in the text", True),
        ("st, no question", False),
    ]
    for one, strings in (
        (within, [f"{q} {text}" if q else text for text, q in zip(TEXTS, QUESTIONS, strict=True)]),
        (without, TEXTS),
    ):
        expected = np.stack([model.encode(string, normalize_embeddings=True) for string in strings])
        np.testing.assert_allclose(one.ask(TEXTS, QUESTIONS), expected, atol=1e-5)


def test_what_sentence_transformers_cannot_load_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="cannot be loaded with sentence-transformers"):
        of_sentence_transformers(tmp_path / "nothing", "nothing")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"inbedder-retrieval\[bench\]"):
        of_sentence_transformers(tmp_path, "nothing")
