from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from inbedder_retrieval.errors import InputError, SourceError
from inbedder_retrieval.evaluation.rows import Judged, Kind
from inbedder_retrieval.evaluation.tasks import Task, demo_task, read_task, sampled
from tests.conftest import write_jsonl


def test_broken_rows_stop_a_task_or_are_counted(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"text": "a", "label": "x"},
        {"text": "b"},
        {"text": "c", "label": "y"},
        {"text": "d", "label": "y"},
        {"label": "y"},
    ]
    file = write_jsonl(tmp_path / "mine.v1.jsonl", rows)
    with pytest.raises(SourceError, match=r"line 2: .*Mend it, or .*--skip-bad.*: 2 rows of 5"):
        read_task(file, "clustering")
    task = read_task(file, "clustering", skip_bad=True, instruction="What?")
    assert (task.name, len(task.rows)) == ("mine", 3)
    assert [fault.partition(": ")[0][-6:] for fault in task.bad] == ["line 2", "line 5"]
    assert {row.instruction for row in task.rows} == {"What?"}
    assert task.asks


def test_a_rows_own_instruction_comes_first_and_similarity_asks_nothing(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"anchor": "a", "positive": "b", "negative": "c", "instruction": "Why?"},
        {"anchor": "a", "positive": "b", "negative": "c"},
    ]
    task = read_task(write_jsonl(tmp_path / "t.jsonl", rows), "triplets", instruction="What?")
    assert [row.instruction for row in task.rows] == ["Why?", "What?"]
    pairs: list[dict[str, object]] = [{"text1": "a", "text2": "b", "score": k} for k in range(2)]
    assert not read_task(write_jsonl(tmp_path / "s.jsonl", pairs), "sts", instruction="What?").asks


@pytest.mark.parametrize(
    ("kind", "rows", "message"),
    [
        ("sts", [], "holds no row"),
        ("sts", [{"text1": "a", "text2": "b", "score": 1}] * 3, "one score for all"),
        ("clustering", [{"text": "a", "label": "x"}] * 3, "1 different labels for 3 texts"),
        ("clustering", [{"text": "a", "label": k} for k in range(3)], "3 different labels for 3"),
        ("retrieval", [{"text": "a"}, {"text": "b", "query": "q", "score": 0}], "no query"),
    ],
)
def test_a_task_that_nothing_can_be_scored_on_is_refused(
    tmp_path: Path, kind: Kind, rows: list[dict[str, object]], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        read_task(write_jsonl(tmp_path / "t.jsonl", rows), kind)


def test_the_demo_corpus_is_asked_for_each_of_its_labels() -> None:
    task = demo_task()
    assert {aspect: len(rows) for aspect, rows in task.aspects.items()} == {
        "product": 375,
        "feeling": 375,
        "need": 375,
    }
    for rows in task.aspects.values():
        assert sorted(Counter(row.label for row in rows).values()) == [75] * 5
        assert len({row.instruction for row in rows}) == 1


def test_a_sample_is_drawn_with_a_fixed_seed() -> None:
    rows = [Judged((f"{k}",), label=str(k % 3)) for k in range(100)]
    task = Task("t", "clustering", rows, "here")
    drawn = np.random.default_rng(0).choice(100, 20, replace=False)
    assert [row.texts[0] for row in sampled(task, 20).rows] == [str(k) for k in drawn]
    assert sampled(task, 100) is task
    with pytest.raises(InputError, match="2 or more"):
        sampled(task, 1)


def test_texts_that_are_searched_are_not_sampled() -> None:
    rows = [Judged((f"{k}", "q"), score=1.0) for k in range(10)]
    task = Task("t", "retrieval", rows, "here")
    assert sampled(task, 5) is task
