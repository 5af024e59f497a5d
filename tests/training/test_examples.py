from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from inbedder_retrieval import SourceError
from inbedder_retrieval.training.examples import data_files, read_examples
from tests.conftest import write_jsonl

WANTED = [("the lamp is late", (("what?", "lamp"), ("how?", "late")))]


def found(path: Path) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    return [(one.text, one.pairs) for one in read_examples(path).examples]


@pytest.mark.parametrize(
    "rows",
    [
        [
            {"text": "the lamp is late", "question": "what?", "answer": "lamp"},
            {"text": "the lamp is late", "question": "how?", "answer": "late"},
        ],
        [
            {"i": "the lamp is late", "q": "what?", "a": "lamp", "s": "shop"},
            {"i": " the lamp is late ", "q": "how?", "a": "late", "s": "shop"},
        ],
        [{"text": "the lamp is late", "qa": [["what?", "lamp"], ["how?", "late"]]}],
        [
            {
                "text": "the lamp is late",
                "qa": [{"q": "what?", "a": "lamp"}, {"question": "how?", "answer": "late"}],
            }
        ],
        [
            {
                "context": "the lamp is late",
                "question": "what?",
                "answers": {"text": ["lamp", "the lamp"], "answer_start": [4, 0]},
            },
            {"context": "the lamp is late", "question": "how?", "answers": [{"text": "late"}]},
        ],
        [
            {"instruction": "what?", "input": "the lamp is late", "output": "lamp"},
            {"instruction": "how?", "input": "the lamp is late", "output": "late"},
        ],
        # As Alpaca is published: the whole prompt, with its answer, is there too.
        [
            {
                "instruction": question,
                "input": "the lamp is late",
                "output": answer,
                "text": f"Below is ... {question} ... ### Response: {answer}",
            }
            for question, answer in (("what?", "lamp"), ("how?", "late"))
        ],
    ],
)
def test_rows_are_read_whatever_their_fields_are_called(
    rows: list[dict[str, object]], tmp_path: Path
) -> None:
    plain = write_jsonl(tmp_path / "rows.jsonl", rows)
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    whole = tmp_path / "rows.json"
    whole.write_text(json.dumps(rows), encoding="utf-8")
    assert found(plain) == found(packed) == found(whole) == WANTED


def test_squads_own_file_is_read(tmp_path: Path) -> None:
    asked = [
        {"question": "what?", "answers": [{"text": "lamp", "answer_start": 4}], "id": "1"},
        {"question": "how?", "answers": [{"text": "late", "answer_start": 12}], "id": "2"},
        {"question": "why?", "answers": [], "is_impossible": True, "id": "3"},
    ]
    paragraphs = [{"context": "the lamp is late", "qas": asked}]
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"version": "2.0", "data": [{"paragraphs": paragraphs}]}))
    assert found(path) == WANTED
    [bad] = read_examples(path).bad
    assert "question 3 has nothing for its answer" in bad


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', "line 2 is not JSON"),
        ("[1]", "line 2 is"),
        ('{"question": "q", "answer": "a"}', "line 2 has no text .*wanted one of text, i,"),
        ('{"text": "t", "answer": "a"}', "line 2 has no question"),
        ('{"text": "t", "question": "q"}', "line 2 has no answer"),
        ('{"text": " ", "question": "q", "answer": "a"}', "line 2 has nothing for its text"),
        ('{"text": "t", "question": 5, "answer": "a"}', "line 2 has int for its question"),
        ('{"text": "t", "question": "q", "answer": null}', "line 2 has NoneType for its answer"),
        ('{"text": "t", "question": "q", "answer": "\\ud800"}', r"lone surrogate U\+D800"),
        ('{"text": "t", "qa": []}', "line 2 has no pairs in 'qa'"),
        ('{"text": "t", "qa": [["q"]]}', "line 2 has no pair 1 in 'qa'"),
        ('{"text": "t", "qa": [["q", "a"], ["q", ""]]}', "line 2 has an empty or strange pair 2"),
    ],
)
def test_a_broken_row_is_named_and_the_others_are_read(
    line: str, message: str, tmp_path: Path
) -> None:
    good = json.dumps({"text": "t", "question": "q", "answer": "a"})
    path = tmp_path / "rows.jsonl"
    other = good.replace('"q"', '"r"')
    path.write_text(f"{good}\n{line}\n\n{other}\n", encoding="utf-8")
    read = read_examples(path)
    assert (read.rows, read.pairs, len(read.bad)) == (3, 2, 1)
    with pytest.raises(SourceError, match=message):
        raise SourceError(read.bad[0])


def test_repeated_pairs_and_answers_without_a_word_are_counted(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"text": "t", "question": "q", "answer": "The refund!"},
        {"text": "t", "question": "q", "answer": "refund"},
        {"text": "t", "question": "r", "answer": "..."},
    ]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    plain, clean = read_examples(path), read_examples(path, clean=True)
    assert (plain.pairs, plain.repeated, plain.unanswered) == (3, 0, 0)
    assert (clean.pairs, clean.repeated, clean.unanswered) == (1, 1, 1)
    assert clean.examples[0].pairs == (("q", "refund"),)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "cannot be read"),
        ("a.json", '{"rows": []}', "neither a list of rows"),
        ("a.jsonl.gz", "plain", "cannot be read"),
    ],
)
def test_a_file_that_is_no_data_is_refused(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SourceError, match=message):
        read_examples(tmp_path / name)


def test_a_folder_gives_its_files_in_order(tmp_path: Path) -> None:
    names = ["b.jsonl", "a.json", "c.ndjson.gz", "notes.txt"]
    for name in names:
        (tmp_path / name).write_text("")
    assert [path.name for path in data_files([tmp_path])] == ["a.json", "b.jsonl", "c.ndjson.gz"]
    given: list[Any] = [tmp_path / "b.jsonl", str(tmp_path / "a.json")]
    assert [path.name for path in data_files(given)] == ["b.jsonl", "a.json"]


@pytest.mark.parametrize("name", ["nothing", "notes.txt", "empty"])
def test_what_holds_no_examples_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"check the name|no file of examples"):
        data_files([tmp_path / name])
