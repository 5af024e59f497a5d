from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbedder_retrieval import SourceError
from inbedder_retrieval.training.contamination import EvaluationTexts
from tests.conftest import write_jsonl

LONG = "where is my refund for the phone that broke last week"


@pytest.fixture
def evaluation(tmp_path: Path) -> EvaluationTexts:
    rows: list[dict[str, object]] = [
        {"text": LONG, "label": "refund"},
        {"text1": "thanks a lot", "text2": "a red chair", "score": 3},
    ]
    return EvaluationTexts([write_jsonl(tmp_path / "eval.jsonl", rows)])


@pytest.mark.parametrize(
    ("text", "share", "exact", "line"),
    [
        ("Where is my REFUND, for the phone that broke last week?!", 1.0, True, 1),
        ("Thanks, a lot.", 1.0, True, 2),
        ("A red chair", 1.0, True, 2),
        (f"Hello all! {LONG} and I am angry about it", 1.0, False, 1),
        # Eleven words have eight runs of four; without the last word seven are left.
        (LONG.rsplit(" ", 1)[0], 7 / 8, False, 1),
    ],
)
def test_a_text_of_an_evaluation_set_is_found(
    evaluation: EvaluationTexts, text: str, share: float, exact: bool, line: int
) -> None:
    [match] = evaluation.matches(["a blue chair", text])
    assert (match.text, match.exact) == (1, exact)
    assert match.share == pytest.approx(share)
    assert match.where.endswith(f"eval.jsonl, line {line}")


@pytest.mark.parametrize(
    "text",
    [
        "where is my refund",
        "where is my phone for the refund that broke last week",
        # Five of eight runs.
        " ".join(LONG.split()[:8]),
        "thanks a lot for everything",
        "",
    ],
)
def test_a_text_that_shares_some_words_is_not(evaluation: EvaluationTexts, text: str) -> None:
    assert evaluation.matches([text]) == []


@settings(max_examples=40, deadline=None)
@given(
    words=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12),
    other=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12),
)
def test_matches_are_those_of_counting_all_runs(
    words: list[str], other: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_jsonl(tmp_path_factory.mktemp("runs") / "eval.jsonl", [{"text": " ".join(words)}])
    found = bool(EvaluationTexts([path]).matches([" ".join(other)]))
    runs = {tuple(words[k : k + 4]) for k in range(len(words) - 3)}
    held = {tuple(other[k : k + 4]) for k in range(len(other) - 3)}
    near = bool(runs) and len(runs & held) / len(runs) >= 0.8
    assert found == (words == other or near)


def test_a_file_without_texts_or_with_a_broken_row_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "eval.jsonl", [{"label": "a"}])
    with pytest.raises(SourceError, match="has no texts"):
        EvaluationTexts([path])
    path.write_text("{")
    with pytest.raises(SourceError, match="line 1 is not JSON"):
        EvaluationTexts([path])
