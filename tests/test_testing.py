from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from inbedder_retrieval import GENERAL, Embedder, Embeddings, TextEmbedder, TextError, View
from inbedder_retrieval.testing import FakeEmbedder
from tests.conftest import QUESTIONS

FEELING = View("feeling", "How does the customer feel?")


def test_a_fake_embeds_like_an_embedder(fake: FakeEmbedder, tiny: Embedder) -> None:
    def shapes(embedder: TextEmbedder) -> list[Any]:
        found: Embeddings = embedder.embed(["a phone", "", " "], QUESTIONS)
        return [(name, v.shape, v.dtype) for name, v in found.items()] + [found.empty]

    assert shapes(fake) == shapes(tiny)


def test_vectors_are_of_unit_length(fake: FakeEmbedder) -> None:
    found = fake.embed(["a red phone", "", "😀"], QUESTIONS)
    for vectors in found.values():
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-6)


def test_texts_that_share_words_are_near(fake: FakeEmbedder) -> None:
    vectors = fake.embed(["a red phone", "a red lamp", "my late refund"], FEELING)["feeling"]
    near, far = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    assert near > 0.4 > far + 0.1


def test_equal_texts_are_equal_whatever_their_neighbours(fake: FakeEmbedder) -> None:
    alone = fake.embed(["the phone"], FEELING)["feeling"][0]
    assert (fake.embed(["x", "The  PHONE"], [GENERAL, FEELING])["feeling"][1] == alone).all()


def test_every_question_has_a_space_of_its_own(fake: FakeEmbedder) -> None:
    found = fake.embed(["the phone is broken"], QUESTIONS)
    assert abs(float(found["feeling"][0] @ found["need"][0])) < 0.6
    renamed = fake.embed(["the phone is broken"], View("mood", QUESTIONS["need"]))
    assert (renamed["mood"] == found["need"]).all()


def test_another_process_makes_the_same_vectors(fake: FakeEmbedder) -> None:
    code = (
        "from inbedder_retrieval import View; from inbedder_retrieval.testing import FakeEmbedder;"
        "print(FakeEmbedder().embed(['the phone'], View('a', 'how?'))['a'].tobytes().hex())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = fake.embed(["the phone"], View("a", "how?"))["a"]
    assert done.stdout.strip() == here.tobytes().hex()


def test_another_seed_is_another_model() -> None:
    first, second = FakeEmbedder(seed=0), FakeEmbedder(seed=1)
    assert first.fingerprint == FakeEmbedder(seed=0).fingerprint != second.fingerprint
    assert FakeEmbedder(dimension=8).fingerprint != first.fingerprint
    apart = first.embed(["a"], FEELING)["feeling"] != second.embed(["a"], FEELING)["feeling"]
    assert apart.all()


def test_the_dimension_is_chosen(fake: FakeEmbedder) -> None:
    small = FakeEmbedder(dimension=8)
    assert small.dimension == 8
    assert small.embed(["a"], FEELING)["feeling"].shape == (1, 8)
    assert small.embed([], FEELING)["feeling"].shape == (0, 8)


def test_texts_are_counted(fake: FakeEmbedder) -> None:
    fake.embed(iter(["a", "b"]), QUESTIONS)
    fake.embed(["c"], FEELING)
    assert fake.texts_seen == 3


def test_an_answer_finds_the_texts_that_hold_it() -> None:
    fake = FakeEmbedder(dimension=512)
    found = fake.embed_answers(["refund"], QUESTIONS)
    assert list(found) == list(QUESTIONS)
    texts = fake.embed(["where is my refund", "love the lamp", "refund"], QUESTIONS)
    for name, [query] in found.items():
        scores = texts[name] @ query
        assert scores.argsort().tolist() == [1, 0, 2]
        assert scores[2] == pytest.approx(1)


@pytest.mark.parametrize("wrong", [None, 5, b"a", "happy \ud83d"])
def test_a_text_that_cannot_be_embedded_is_named(fake: FakeEmbedder, wrong: Any) -> None:
    with pytest.raises(TextError, match="text 1 "):
        fake.embed(["a", wrong], FEELING)


def test_one_bare_string_is_no_list_of_texts(fake: FakeEmbedder) -> None:
    with pytest.raises(TextError, match="one string was given"):
        fake.embed("the phone", FEELING)


def test_words_are_the_heaviest_components(fake: FakeEmbedder) -> None:
    [answers] = fake.explain([[0.6, 0.0, -0.8]], top=2)
    assert [answer.word for answer in answers] == ["component2", "component0"]
    assert [answer.weight for answer in answers] == pytest.approx([0.64, 0.36])
