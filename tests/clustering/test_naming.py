"""Names: what sets a group apart, by hand-made numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbedder_retrieval import AnswerWord
from inbedder_retrieval.naming import choose_names, contrast_words, text_words, typical_words
from inbedder_retrieval.testing import FakeEmbedder


def words(*names: str) -> list[AnswerWord]:
    return [AnswerWord(word=name, weight=1.0) for name in names]


def test_contrast_ranks_by_the_part_in_the_divergence() -> None:
    """The fake's word of a component weighs its square: p log(p / q) can be done by hand."""
    means = np.zeros((1, 32), dtype=np.float32)
    means[0, :3] = np.sqrt([0.5, 0.3, 0.2])
    mean = np.zeros(32, dtype=np.float32)
    mean[:3] = np.sqrt([0.6, 0.1, 0.1])
    [found] = contrast_words(means, mean, FakeEmbedder(), top=5)
    assert [word.word for word in found] == ["component1", "component2"]
    assert 0.3 * math.log(3) > 0.2 * math.log(2)
    assert [word.weight for word in found] == pytest.approx([0.3, 0.2])


def test_a_group_like_the_corpus_keeps_its_heaviest_words() -> None:
    mean = np.eye(32, dtype=np.float32)[4]
    [found] = contrast_words(mean[None], mean, FakeEmbedder(), top=1)
    assert [word.word for word in found] == ["component4"]


def test_typical_words_are_those_that_others_lack() -> None:
    own = [(("ok", 1.0), ("lamp", 1.0)), (("ok", 1.0), ("lamp", 1.0)), (("ok", 1.0), ("sofa", 1.0))]
    lamp, sofa = typical_words(own, np.array([0, 0, 1]), 2, top=5)
    # Six words in all, three a group: log(1 + 3 / 2) for `lamp`, log(1 + 3 / 3) for `ok`.
    weights = {"lamp": 0.5 * math.log(2.5), "ok": 0.5 * math.log(2)}
    assert [word.word for word in lamp] == ["lamp", "ok"]
    assert lamp[0].weight == pytest.approx(weights["lamp"] / sum(weights.values()))
    assert [word.word for word in sofa] == ["sofa", "ok"]


def test_noise_has_no_say_in_typical_words() -> None:
    [found] = typical_words([(("a", 1.0),), (("b", 1.0),)], np.array([0, -1]), 1)
    assert [word.word for word in found] == ["a"]


def test_names_join_both_readings_and_leave_out_forms_of_a_word() -> None:
    assert choose_names([words("worried", "worry", "nervous")], [words("annoyed", "worried")]) == [
        "worried, annoyed, nervous"
    ]
    assert choose_names([words("refund", "refuse")], [[]]) == ["refund, refuse"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=5, unique=True), max_size=8))
def test_no_two_names_are_alike(groups: list[list[str]]) -> None:
    names = choose_names([words(*group) for group in groups], [[] for _ in groups])
    assert len(set(names)) == len(groups)
    assert all(names)


def test_terms_of_texts_leave_out_stop_words_and_what_stands_once() -> None:
    few = text_words(["the lamp", "the chair"])
    assert [[word for word, _ in one] for one in few] == [["lamp"], ["chair"]]
    many = text_words([f"lamp unique{chr(97 + k)}x" for k in range(26)])
    assert {word for one in many for word, _ in one} == {"lamp"}
    assert text_words(["", "the"]) == [(), ()]
