from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
import tempfile
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from inbedder_retrieval import Document, SourceError
from inbedder_retrieval.sources import Scan, open_source
from tests.conftest import write_jsonl

MEGABYTE = "x" * 1_000_000


def read(path: Path | str, *, skip_bad: bool = False, **fields: Any) -> list[Document]:
    source = open_source(str(path), **fields)
    return list(source.documents(source.scan(skip_bad=skip_bad)))


def scan(path: Path, *, skip_bad: bool = False, **fields: Any) -> Scan:
    return open_source(str(path), **fields).scan(skip_bad=skip_bad)


def texts(path: Path | str) -> list[str]:
    return [document.text for document in read(path)]


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_parquet(path: Path, columns: dict[str, Any]) -> Path:
    parquet.write_table(pa.table(columns), path)
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
    assert [document.text for document in read(path, skip_bad=True)] == ["first", "last"]


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


def test_csv_cells_hold_quotes_commas_and_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,text\n1,"He said ""no"",\r\nthen left"\n2,5" pipe\n')
    assert texts(path) == ['He said "no",\r\nthen left', '5" pipe']


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("4.5", 4.5),
        ("-0.25", -0.25),
        ("007", "007"),
        ("+5", "+5"),
        ("1e5", "1e5"),
        ("1.", "1."),
        (".5", ".5"),
        ("1,5", "1,5"),
        ("1_000", "1_000"),
        (" 1", " 1"),
        ("nan", "nan"),
        ("true", "true"),
        ("", ""),
        ("1234567890123456", "1234567890123456"),
    ],
)
def test_a_csv_cell_that_is_a_plain_number_becomes_one(
    tmp_path: Path, cell: str, value: object
) -> None:
    path = write(tmp_path / "a.csv", f'text,n\n1,"{cell}"\n')
    [document] = read(path)
    assert document.text == "1"
    assert document.metadata == {"n": value}
    assert type(document.metadata["n"]) is type(value)


@settings(max_examples=50, deadline=None)
@given(cell=st.from_regex(r"-?\d{1,17}(\.\d{1,17})?", fullmatch=True))
@example("123456789012345.123456789012345")
def test_a_csv_number_keeps_every_digit(cell: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.csv", f"text,n\na,{cell}\n")
        [document] = read(path)
    found = document.metadata["n"]
    assert found == cell or Decimal(repr(found)) == Decimal(cell)


def test_text_and_id_of_a_csv_file_stay_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "nr,body,id\n1,2,3\n")
    assert read(path, text_field="body", id_field="nr") == [
        Document("2", id="1", metadata={"id": 3})
    ]
    assert read(path, text_field="body") == [Document("2", id="3", metadata={"nr": 1})]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2,b,c", "line 3 has 3 cells and the header 2"),
        ("2", "line 3 has 1 cells and the header 2"),
        ('2,"b"c', "line 3 is not CSV"),
        (",b", "line 3: .*id is empty"),
    ],
)
def test_a_broken_csv_row_is_named_by_its_line_and_can_be_passed_over(
    tmp_path: Path, row: str, message: str
) -> None:
    path = write(tmp_path / "a.csv", f"id,text\n1,a\n{row}\n3,c\n")
    with pytest.raises(SourceError, match=message):
        scan(path)
    assert len(scan(path, skip_bad=True).bad) == 1
    assert [document.id for document in read(path, skip_bad=True)] == ["1", "3"]


def test_a_csv_quote_that_is_never_closed_is_named_by_the_line_it_begins_on(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a.csv", 'id,text\n1,a\n2,"b\n3,c\n4,d\n')
    with pytest.raises(SourceError, match="line 3"):
        scan(path)


def test_a_csv_column_that_is_named_twice_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,n,n\na,1,2\n")
    with pytest.raises(SourceError, match="line 1: a column is named twice"):
        scan(path, skip_bad=True)


def test_a_csv_cell_of_a_megabyte_is_read(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "a.csv", f'text\n{MEGABYTE}\n"{MEGABYTE}"\n')) == [MEGABYTE]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the csv module refuses it before 3.11")
def test_a_csv_cell_may_hold_the_character_null(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "a.csv", "text\na\0b\n")) == ["a\0b"]


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(max_examples=50, deadline=None)
@given(rows=st.dictionaries(CELL.filter(str.strip), CELL))
def test_any_text_written_as_csv_reads_back(rows: dict[str, str]) -> None:
    written = io.StringIO(newline="")
    csv.writer(written).writerows([("id", "text"), *rows.items()])
    with tempfile.TemporaryDirectory() as folder:
        found = read(write(Path(folder) / "a.csv", written.getvalue()))
    assert [(document.id, document.text) for document in found] == list(rows.items())


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
METADATA = st.dictionaries(st.text().filter(lambda key: key not in ("id", "text")), VALUES)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.dictionaries(st.text().filter(str.strip), st.tuples(st.text(), METADATA), max_size=5),
    escaped=st.booleans(),
)
def test_any_rows_written_as_json_lines_read_back(
    rows: dict[str, tuple[str, dict[str, Any]]], escaped: bool
) -> None:
    lines = "".join(
        json.dumps({"id": name, "text": text} | metadata, ensure_ascii=escaped) + "\n"
        for name, (text, metadata) in rows.items()
    )
    with tempfile.TemporaryDirectory() as folder:
        found = read(write(Path(folder) / "a.jsonl", lines))
    assert [(d.id, d.text, d.metadata) for d in found] == [
        (name, text, metadata) for name, (text, metadata) in rows.items()
    ]


def test_parquet_rows_are_read_with_dates_decimals_and_nested_values(tmp_path: Path) -> None:
    columns = {
        "id": [1, 2],
        "text": ["a", "b"],
        "day": [date(2024, 2, 29), None],
        "at": [datetime(2024, 2, 29, 12, 30, tzinfo=timezone.utc), None],
        "price": [Decimal("9.90"), None],
        "tags": [["x", "y"], []],
        "maker": [{"name": "oak", "year": 1999}, None],
        "kind": pa.array(["new", "old"]).dictionary_encode(),
    }
    first, second = read(write_parquet(tmp_path / "a.parquet", columns))
    assert (first.id, first.text) == ("1", "a")
    at = first.metadata.pop("at")
    assert datetime.fromisoformat(at) == columns["at"][0]
    assert first.metadata == {
        "day": "2024-02-29",
        "price": 9.9,
        "tags": ["x", "y"],
        "maker": {"name": "oak", "year": 1999},
        "kind": "new",
    }
    assert second.metadata == dict.fromkeys(["day", "at", "price", "maker"]) | {
        "tags": [],
        "kind": "old",
    }


def test_dates_inside_nested_parquet_values_become_text_as_well(tmp_path: Path) -> None:
    columns = {
        "text": ["a"],
        "days": [[date(2024, 2, 29)]],
        "order": [{"day": date(2024, 3, 1), "price": Decimal("1.5")}],
    }
    [document] = read(write_parquet(tmp_path / "a.parquet", columns))
    assert document.metadata == {
        "days": ["2024-02-29"],
        "order": {"day": "2024-03-01", "price": 1.5},
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, b"\x00\x01"], r"row 2: metadata\.v is bytes"),
        ([1.0, math.nan], r"row 2: metadata\.v is nan"),
    ],
)
def test_a_parquet_value_that_json_cannot_hold_is_named(
    tmp_path: Path, values: list[object], message: str
) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["a", "b"], "v": values})
    with pytest.raises(SourceError, match=message):
        scan(path)
    assert [document.text for document in read(path, skip_bad=True)] == ["a"]


def test_parquet_timestamps_in_nanoseconds_become_text(tmp_path: Path) -> None:
    column = pa.array([1_700_000_000_123_456_789], pa.timestamp("ns"))
    [document] = read(write_parquet(tmp_path / "a.parquet", {"text": ["a"], "v": column}))
    assert document.metadata["v"].startswith("2023-11-14T22:13:20.123456")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([300_000_000_000], pa.timestamp("s")),
        pa.Array.from_buffers(
            pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xe9")]
        ),
    ],
    ids=["year 11476", "not UTF-8"],
)
def test_a_parquet_value_that_python_cannot_hold_is_an_error_of_the_source(
    tmp_path: Path, column: Any
) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["a"], "v": column})
    with pytest.raises(SourceError, match=r"a\.parquet"):
        scan(path)


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing more PAR1"])
def test_a_file_that_is_no_parquet_says_so(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "a.parquet", content)
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        scan(path, skip_bad=True)


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


def test_a_folder_is_read_whatever_the_case_of_a_files_ending(tmp_path: Path) -> None:
    write(tmp_path / "README.MD", "one")
    assert texts(tmp_path) == ["one"]


def test_a_folder_names_the_file_that_is_not_utf8(tmp_path: Path) -> None:
    write(tmp_path / "good.txt", "good")
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "bad.txt", b"caf\xe9")
    with pytest.raises(SourceError, match=r"sub/bad\.txt: .*not UTF-8 \(byte 0xE9\)"):
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
