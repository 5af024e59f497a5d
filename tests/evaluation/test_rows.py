from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from inbedder_retrieval.errors import SourceError
from inbedder_retrieval.evaluation.rows import Judged, Kind, read_rows
from tests.conftest import write_jsonl

# What other people's files call the same fields.
ALIKE: list[tuple[Kind, dict[str, object], Judged]] = [
    ("clustering", {"text": "a", "label": "x"}, Judged(("a",), label="x")),
    (
        "clustering",
        {"sentence": "a", "cluster": 3, "question": "Why?", "aspect": "cause"},
        Judged(("a",), "Why?", "cause", "3"),
    ),
    (
        "triplets",
        {"anchor": "a", "positive": "b", "negative": "c", "instruction": "Why?"},
        Judged(("a", "b", "c"), "Why?"),
    ),
    (
        "csts",
        {"sentence1": "a", "sentence2": "b", "condition": "The colour.", "label": 4},
        Judged(("a", "b"), "The colour.", score=4.0),
    ),
    (
        "csts",
        {"text1": "a", "text2": "b", "instruction": "Why?", "score": 0},
        Judged(("a", "b"), "Why?"),
    ),
    # A question is no business of the general view's.
    (
        "sts",
        {"text1": "a", "text2": "b", "instruction": "Why?", "score": 2.5},
        Judged(("a", "b"), score=2.5),
    ),
    ("retrieval", {"query": "q", "text": "a"}, Judged(("a", "q"), score=1.0)),
    ("retrieval", {"query": "q", "passage": "a", "score": 0}, Judged(("a", "q"))),
    ("retrieval", {"document": "a", "query": None}, Judged(("a",))),
]

BROKEN: list[tuple[Kind, dict[str, object], str]] = [
    ("clustering", {"text": "a"}, r"no field 'label' or 'cluster' .*\(there are 'text'\)"),
    ("clustering", {"text": "a", "label": ["x"]}, r"\['x'\]; it must be a text or a whole number"),
    ("clustering", {"text": "  ", "label": "x"}, "must be a text that says something"),
    ("clustering", {"text": "a\ud800", "label": "x"}, r"lone surrogate U\+D800"),
    ("triplets", {"anchor": "a", "positive": "b"}, "no field 'negative'"),
    ("csts", {"text1": "a", "text2": "b", "score": 1}, "no field 'instruction' or 'question'"),
    ("sts", {"text1": "a", "text2": "b", "score": "high"}, "'high'; it must be a finite number"),
    ("sts", {"text1": "a", "text2": "b", "score": float("nan")}, "finite number"),
    ("sts", {"text1": "a", "text2": "b", "score": True}, "finite number"),
    ("retrieval", {"text": "a", "query": "q", "score": -1}, "0 or more"),
]


@pytest.mark.parametrize(("kind", "row", "expected"), ALIKE)
def test_a_row_is_read_under_every_name(
    tmp_path: Path, kind: Kind, row: dict[str, object], expected: Judged
) -> None:
    assert list(read_rows(write_jsonl(tmp_path / "rows.jsonl", [row]), kind)) == [expected]


def test_scores_of_a_csv_file_are_read_however_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    written = ["5.0", "3.25", "2.6666666666666665", "1e-05", "4"]
    for column in ("score", "label"):
        lines = [f"a{n},b,{score}" for n, score in enumerate(written)]
        file.write_text("\n".join([f"text1,text2,{column}", *lines]) + "\n")
        assert [row.score for row in read_rows(file, "sts") if isinstance(row, Judged)] == [
            float(score) for score in written
        ]
    file.write_text("text,cluster\na,1.0\nb,2\nc,two\n")
    rows = [row for row in read_rows(file, "clustering") if isinstance(row, Judged)]
    assert len(rows) == 3


@pytest.mark.parametrize(("kind", "row", "message"), BROKEN)
def test_a_broken_row_is_named_and_the_others_are_read(
    tmp_path: Path, kind: Kind, row: dict[str, object], message: str
) -> None:
    good = next(given for alike, given, _ in ALIKE if alike == kind)
    file = write_jsonl(tmp_path / "rows.jsonl", [good, row, good])
    first, found, last = read_rows(file, kind)
    assert isinstance(first, Judged)
    assert first == last
    assert isinstance(found, str)
    assert found.startswith(f"{file}, line 2: ")
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(found)


def test_files_of_every_ending_hold_the_same(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"text": "one, with a comma", "label": "x"},
        {"text": "2", "label": "7"},
    ]
    plain = write_jsonl(tmp_path / "a.jsonl", rows)
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    table = tmp_path / "a.csv"
    table.write_text('text,label\n"one, with a comma",x\n2,7\n', encoding="utf-8")
    expected = [Judged(("one, with a comma",), label="x"), Judged(("2",), label="7")]
    for file in (plain, packed, table):
        assert list(read_rows(file, "clustering")) == expected


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"text1": ["a"], "text2": ["b"], "score": [0.5]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert list(read_rows(tmp_path / "a.parquet", "sts")) == [Judged(("a", "b"), score=0.5)]


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no file"):
        list(read_rows(tmp_path / "none.jsonl", "sts"))
    other = tmp_path / "a.txt"
    other.write_text("x", encoding="utf-8")
    with pytest.raises(SourceError, match=r"a\.txt cannot be evaluated on.*\.jsonl"):
        list(read_rows(other, "sts"))
    cut = tmp_path / "a.jsonl.gz"
    cut.write_bytes(gzip.compress(json.dumps({"text": "a" * 1000}).encode())[:-12])
    with pytest.raises(SourceError, match="cannot be read"):
        list(read_rows(cut, "sts"))
    cut.write_bytes(b"plain")
    with pytest.raises(SourceError, match="cannot be read"):
        list(read_rows(cut, "sts"))
