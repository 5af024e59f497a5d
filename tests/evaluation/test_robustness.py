from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from inbedder_retrieval.errors import SourceError
from inbedder_retrieval.evaluation.clusters import Protocol
from inbedder_retrieval.evaluation.measure import evaluate
from inbedder_retrieval.evaluation.robustness import (
    MANNERS,
    Instructions,
    load_instructions,
    measure_robustness,
)
from inbedder_retrieval.evaluation.rows import Judged
from inbedder_retrieval.evaluation.tasks import Task, demo_task
from tests.evaluation.made import made

ONE = Protocol(seeds=1)
X, Y = [1.0, 0.0], [0.0, 1.0]
# Texts a and b have label 1, c and d label 2: what is asked decides whose vectors are alike.
RIGHT = {"a": X, "b": X, "c": Y, "d": Y}
WRONG = {"a": X, "b": Y, "c": X, "d": Y}
HALF = {"a": X, "b": X, "c": X, "d": Y}


def task_asking(instruction: str | None) -> Task:
    rows = [Judged((text,), instruction, label="12"[text > "b"]) for text in "abcd"]
    return Task("t", "clustering", rows, "here")


def test_every_instruction_is_scored_and_the_gaps_are_the_papers() -> None:
    asked = {"good": RIGHT, "fair": HALF, "bad": WRONG, "own": RIGHT}
    contender = made({(t, q): v for q, vectors in asked.items() for t, v in vectors.items()})
    lists = {"t": Instructions(("good", "fair"), ("fair",), ("bad", "bad"))}
    [found] = measure_robustness(task_asking("own"), contender, lists, ONE)
    # Homogeneity 0.3113 (1 - 0.75 h(1/3)) and completeness 0.3113 / 0.8113, in bits.
    fair = 2 * 0.311278 / (1 + 0.811278) * 100
    assert [score.value for score in found.correct] == pytest.approx([100, fair], abs=1e-3)
    assert [score.value for score in found.incorrect] == pytest.approx([0, 0], abs=1e-6)
    assert found.correct_gap == pytest.approx(fair, abs=1e-3)
    assert found.implicit_gap == pytest.approx(fair, abs=1e-3)
    report = evaluate("m", "r", [contender], [task_asking("own")], protocol=ONE, instructions=lists)
    assert report.robustness == [found]


def test_a_pattern_takes_words_from_each_texts_own_instruction() -> None:
    vectors = {(text, f"is {text} it?"): RIGHT[text] for text in "abcd"}
    vectors |= {(text, "no"): WRONG[text] for text in "abcd"}
    rows = [Judged((t,), f"What of {t}?", label="12"[t > "b"]) for t in "abcd"]
    task = Task("t", "clustering", rows, "here")
    lists = Instructions(("is {a} it?",), ("is {a} it?",), ("no",), pattern=r"What of (?P<a>.+)\?")
    [found] = measure_robustness(task, made({**vectors}), {"t": lists}, ONE)
    assert found.correct_gap == pytest.approx(100)
    other = Task("t", "clustering", [*rows, Judged(("a",), "Else?", label="1")], "here")
    with pytest.raises(SourceError, match=r"'Else\?' does not match"):
        measure_robustness(other, made({**vectors}), {"t": lists}, ONE)


def test_a_task_without_lists_is_left_alone() -> None:
    assert (
        measure_robustness(task_asking(None), made({}), {"other": Instructions((), (), ())}, ONE)
        == []
    )


def test_our_lists_hold_ten_of_each_manner() -> None:
    lists = load_instructions()
    for name, listed in lists.items():
        every = [getattr(listed, manner) for manner in MANNERS]
        assert [len(one) for one in every] == [10, 10, 10], name
        assert len({*every[0], *every[1], *every[2]}) == 30, name
        holes = {hole for one in every for text in one for hole in re.findall(r"{(\w+)}", text)}
        assert holes == set(re.compile(listed.pattern or "").groupindex), name
    for aspect in demo_task().aspects:
        assert f"demo.{aspect}" in lists


def test_a_pattern_reads_the_questions_it_was_written_for() -> None:
    lists = load_instructions()
    question = "What is the relation between office bridge and north fork and river?"
    match = re.fullmatch(lists["fewrel_relation"].pattern or "", question)
    assert match is not None
    assert match["a"] == "office bridge and north fork"
    assert (
        re.fullmatch(lists["wnut17_entity"].pattern or "", "What type of entity is ?!?") is not None
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "no lists"),
        ({"t": []}, "no object with correct"),
        ({"t": {"correct": ["a"], "implicit": ["b"]}}, "'incorrect' must be a list"),
        ({"t": {"correct": ["a"], "implicit": [""], "incorrect": ["c"]}}, "'implicit' must be"),
        (
            {"t": {"correct": ["a"], "implicit": ["b"], "incorrect": ["c"], "pattern": "("}},
            "the pattern",
        ),
    ],
)
def test_lists_that_are_none_are_refused(tmp_path: Path, content: object, message: str) -> None:
    file = tmp_path / "lists.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    with pytest.raises(SourceError, match=message):
        load_instructions(file)


def test_lists_of_ones_own_are_read(tmp_path: Path) -> None:
    file = tmp_path / "lists.json"
    lists = {"t": {"correct": ["a"], "implicit": ["b"], "incorrect": ["c", "d"]}}
    file.write_text(json.dumps(lists), encoding="utf-8")
    assert load_instructions(file) == {"t": Instructions(("a",), ("b",), ("c", "d"))}
