"""Each kind of file is read as what it holds; what is wrong in it is named by its place."""

from __future__ import annotations

import csv
import io
import json
import math
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
from tests.test_sources import read, scan, texts, texts_passing_over, write

MEGABYTE = "x" * 1_000_000


def write_parquet(path: Path, columns: dict[str, Any]) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


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


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["9.90", "12.00", "7"], [9.9, 12.0, 7]),
        (["1.9", "1.10", "n/a", "2.0"], [1.9, "1.10", "n/a", "2.0"]),
    ],
    ids=["prices", "versions"],
)
def test_a_csv_number_that_ends_in_zeros_stays_text_where_the_zeros_tell_numbers_apart(
    tmp_path: Path, cells: list[str], values: list[object]
) -> None:
    path = write(tmp_path / "a.csv", "text,n\n" + "".join(f"a{c},{c}\n" for c in cells))
    assert [document.metadata["n"] for document in read(path)] == values


@pytest.mark.parametrize(("sign", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_a_csv_file_divided_by_another_sign_than_commas_says_so(
    tmp_path: Path, sign: str, name: str
) -> None:
    path = write(tmp_path / "a.csv", f"id{sign}text\n1{sign}a\n")
    with pytest.raises(SourceError, match=f"line 1: cells are divided by {name}; .* commas"):
        scan(path, skip_bad=True)


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
    assert texts_passing_over(path) == ["a"]


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


def test_a_parquet_row_that_cannot_be_read_is_named_and_can_be_passed_over(tmp_path: Path) -> None:
    column = pa.array([0, 300_000_000_000, 60], pa.timestamp("s"))
    path = write_parquet(tmp_path / "a.parquet", {"text": ["a", "b", "c"], "v": column})
    with pytest.raises(SourceError, match=r"a\.parquet, row 2 cannot be read: "):
        scan(path)
    assert texts_passing_over(path) == ["a", "c"]


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing more PAR1"])
def test_a_file_that_is_no_parquet_says_so(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "a.parquet", content)
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        scan(path, skip_bad=True)
