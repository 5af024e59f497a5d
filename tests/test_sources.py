from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from inbedder_retrieval import Document, SourceError
from inbedder_retrieval.sources import Scan, open_source
from tests.conftest import write_jsonl


def read(path: Path | str, *, skip_bad: bool = False, **fields: Any) -> list[Document]:
    source = open_source(str(path), **fields)
    return list(source.documents(source.scan(skip_bad=skip_bad)))


def scan(path: Path, *, skip_bad: bool = False, **fields: Any) -> Scan:
    return open_source(str(path), **fields).scan(skip_bad=skip_bad)


def texts(path: Path | str) -> list[str]:
    return [document.text for document in read(path)]


def texts_passing_over(path: Path) -> list[str]:
    return [document.text for document in read(path, skip_bad=True)]


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "A.JSONL"])
def test_the_fields_of_a_json_line_beside_text_and_id_become_metadata(
    tmp_path: Path, name: str
) -> None:
    rows: list[dict[str, object]] = [
        {"text": "hello", "id": 7, "price": 3.5, "tags": ["a", None], "maker": {"new": True}},
        {"text": "", "id": "b"},
    ]
    first, second = read(write_jsonl(tmp_path / name, rows))
    assert (first.id, first.text) == ("7", "hello")
    assert first.metadata == {"price": 3.5, "tags": ["a", None], "maker": {"new": True}}
    assert second == Document("", id="b")


def test_a_row_without_an_id_is_named_by_what_it_holds(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "a", "k": 1}, {"text": "a", "k": 2}])
    assert read(path) == [Document("a", metadata={"k": 1}), Document("a", metadata={"k": 2})]


def test_text_and_id_are_taken_from_the_fields_that_are_named(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"body": "hi", "nr": 1, "id": 9, "text": "other"}])
    expected = Document("hi", id="1", metadata={"id": 9, "text": "other"})
    assert read(path, text_field="body", id_field="nr") == [expected]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'\xef\xbb\xbf{"text": "a"}\r\n\r\n  \t\n{"text": "b"}'),
        ("a.csv", b"\xef\xbb\xbftext\r\na\r\n\r\nb"),
        ("a.txt", b"\xef\xbb\xbfa\r\n\r\n  \t\n b \n\n"),
        ("mac.txt", b"\xef\xbb\xbfa\r\rb\r"),
    ],
)
def test_byte_order_mark_blank_lines_and_windows_line_ends_are_no_part_of_a_text(
    tmp_path: Path, name: str, content: bytes
) -> None:
    assert texts(write(tmp_path / name, content)) == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "x",}', "is not JSON"),
        ('{"text": "x"', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"text": "x", "n": ' + "9" * 5_000 + "}", "is not JSON|beyond 64 bits"),
        ('["text", "x"]', "is a list; it must be an object"),
        ("null", "it must be an object"),
        ('{"body": "x", "nr": 1}', r"no field 'text' \(there are 'body', 'nr'\).*--text-field"),
        ("{}", r"no field 'text' \(there are none\)"),
        ('{"text": 7}', "text is int 7; it must be a string"),
        ('{"text": null}', "text is NoneType"),
        ('{"text": ["x"]}', "text is list"),
        ('{"text": "x", "id": 1.5}', "id is float 1.5"),
        ('{"text": "x", "id": true}', "id is bool"),
        ('{"text": "x", "id": " "}', "id is empty"),
        ('{"text": "x", "n": NaN}', r"metadata\.n is nan"),
        ('{"text": "x", "n": {"m": [1e999]}}', r"metadata\.n\.m\[0\] is inf"),
        ('{"text": "x", "n": 18446744073709551616}', "beyond 64 bits"),
        (r'{"text": "x", "n": "cut \ud83d"}', r"metadata\.n holds the lone surrogate U\+D83D"),
        (r'{"text": "x", "id": "\ud83d"}', r"id holds the lone surrogate U\+D83D"),
        ('{"text": "x", "n": ' + '{"n": ' * 40 + "1" + "}" * 41, "nested more than"),
    ],
)
def test_a_broken_json_line_is_named_by_its_number_and_can_be_passed_over(
    tmp_path: Path, line: str, message: str
) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"text": "first"}}\n{line}\n{{"text": "last"}}\n')
    with pytest.raises(SourceError, match=rf"a\.jsonl, line 2.*({message})"):
        scan(path)
    found = scan(path, skip_bad=True)
    assert (found.total, len(found.bad)) == (2, 1)
    assert texts_passing_over(path) == ["first", "last"]


def test_a_missing_id_field_is_an_error_where_one_was_named(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "a", "id": 1}])
    with pytest.raises(SourceError, match=r"line 1: there is no field 'nr'.*'text', 'id'"):
        scan(path, id_field="nr")


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("value.jsonl", b'{"text": "caf\xe9"}', "line 1"),
        ("other.jsonl", b'{"text": "a", "b": "caf\xe9"}', "line 1"),
        ("nested.jsonl", b'{"text": "a", "b": {"c": ["caf\xe9"]}}', "line 1"),
        ("key.jsonl", b'{"text": "a", "caf\xe9": 1}', "line 1"),
        ("cell.csv", b"text\nokay\ncaf\xe9\n", "line 3"),
        ("header.csv", b"text,caf\xe9\na,b\n", "line 1|line 2"),
        ("line.txt", b"okay\ncaf\xe9\n", "line 2"),
        ("utf16.jsonl", '{"text": "a"}'.encode("utf-16"), "line 1"),
        ("utf16.csv", "text\na\n".encode("utf-16"), "line 1|line 2"),
        ("utf16.txt", "a\n".encode("utf-16"), "line 1"),
        ("unmarked.txt", "one two\n".encode("utf-16-le"), "line 1"),
    ],
)
def test_bytes_that_are_not_utf8_are_named_wherever_they_stand(
    tmp_path: Path, name: str, content: bytes, place: str
) -> None:
    with pytest.raises(SourceError, match=rf"{name}, ({place}).*not UTF-8"):
        scan(write(tmp_path / name, content))


def test_the_last_row_of_an_id_counts(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": 7, "text": "first"},
        {"id": "8", "text": "other"},
        {"id": "7", "text": "second"},
        {"id": 7, "text": "third"},
    ]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    assert (scan(path).duplicates, scan(path).total) == (2, 2)
    assert [(d.id, d.text) for d in read(path)] == [("8", "other"), ("7", "third")]


def test_rows_without_an_id_that_are_the_same_are_called_repeated(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "one\ntwo\none\none\n")
    assert (scan(path).duplicates, scan(path).repeated, scan(path).total) == (2, 2, 2)
    rows: list[dict[str, object]] = [{"id": 1, "text": "a"}, {"id": 1, "text": "a"}]
    named = scan(write_jsonl(tmp_path / "a.jsonl", rows))
    assert (named.duplicates, named.repeated) == (1, 0)


def test_a_broken_row_does_not_replace_an_earlier_one_of_its_id(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"id": 1, "text": "good"}\n{"id": 1, "text": 5}\n')
    assert [(d.id, d.text) for d in read(path, skip_bad=True)] == [("1", "good")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n \r\n"])
def test_an_empty_file_holds_no_document(tmp_path: Path, name: str, content: bytes) -> None:
    path = write(tmp_path / name, content)
    assert scan(path).total == 0
    assert read(path) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.xlsx", r"a \.xlsx file; this reads \.jsonl"),
        ("a.json", r"a \.json file"),
        ("nameless", "a nameless file"),
        ("missing.jsonl", "no file or folder .*missing.jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_says_so(tmp_path: Path, name: str, message: str) -> None:
    if name != "missing.jsonl":
        write(tmp_path / name, "{}")
    with pytest.raises(SourceError, match=message):
        open_source(str(tmp_path / name))


def test_an_empty_name_is_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell variable that is not set must not mean the current folder."""
    write(tmp_path / "a.txt", "a")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError):
        open_source("")


def test_a_folder_is_read_as_a_document_a_file_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "c.txt").mkdir()
    write(tmp_path / "b" / "deep" / "two.md", b"\xef\xbb\xbf# Two\n\nlines\n")
    write(tmp_path / "a.txt", "one\ntwo")
    write(tmp_path / "b" / "other.jsonl", '{"text": "not read"}')
    assert {d.id: (d.text, d.metadata) for d in read(tmp_path)} == {
        "a.txt": ("one\ntwo", {}),
        "b/deep/two.md": ("# Two\n\nlines\n", {}),
    }


def test_a_markdown_file_is_one_text_named_by_the_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = write(tmp_path / "sub" / "Notes.MD", "# One\n\nline\n")
    assert read(path) == [Document("# One\n\nline\n", id="Notes.MD")]


def test_a_folder_is_read_whatever_the_case_of_a_files_ending(tmp_path: Path) -> None:
    write(tmp_path / "README.MD", "one")
    assert texts(tmp_path) == ["one"]


def test_a_folder_names_the_file_that_is_not_utf8(tmp_path: Path) -> None:
    write(tmp_path / "good.txt", "good")
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "bad.txt", b"caf\xe9")
    with pytest.raises(SourceError, match=r"sub/bad\.txt is not UTF-8 \(byte 0xE9\)"):
        scan(tmp_path)
    assert texts(tmp_path / "good.txt") == ["good"]


def test_a_folder_without_text_files_says_what_it_looks_for(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text\na\n")
    with pytest.raises(SourceError, match=r"no \.txt or \.md file"):
        open_source(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"text": "a", "id": 1}\n{"text": "b"}\n', ["a", "b"]),
        (b'\n \n{"text": "a"}\n', ["a"]),
        (b'\xef\xbb\xbf{"text": "a"}\r\n', ["a"]),
        (b"\n" * 300 + b'{"text": "a"}\n', ["a"]),
        (b"one\r\n\n two \n{three}", ["one", "two", "{three}"]),
        (b"[a] note", ["[a] note"]),
        (b"", []),
    ],
)
def test_standard_input_is_json_lines_or_a_text_a_line(
    monkeypatch: pytest.MonkeyPatch, content: bytes, expected: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert texts("-") == expected


@pytest.mark.skipif(os.name == "nt", reason="a pipe has no name there")
def test_a_named_pipe_is_not_called_missing(tmp_path: Path) -> None:
    """As the shell's <(command) makes one: it can be read once, and a source is read twice."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(SourceError, match=r"^(?!there is no file)"):
        open_source(str(tmp_path / "pipe.jsonl"))
