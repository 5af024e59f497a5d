"""Readers: how each kind of file is read as rows.

A row is a place (`line 7`) with its fields, or with what is wrong with it. What is wrong begins
with a verb (`is not JSON: ...`), so that a name and the place can stand before it. A file that
cannot be read at all raises SourceError. Readers know no documents, nor which fields are wanted.
"""

from __future__ import annotations

import csv
import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import date, time
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import IO, Any, TypeAlias

from inbedder_retrieval.documents import lone_surrogate
from inbedder_retrieval.errors import MissingExtraError, SourceError

__all__ = ["Opened", "Row", "csv_rows", "folder_rows", "json_rows", "parquet_rows", "text_rows"]

Row: TypeAlias = "tuple[str, dict[str, Any] | str]"
Opened: TypeAlias = Callable[[], AbstractContextManager[IO[bytes]]]

# A number as people write it, and no code: no leading zeros, no sign but minus.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(?:\.([0-9]+))?")
# A float keeps any 15 digits.
_MAX_DIGITS = 15
_MAX_CELL = 2**31 - 1


def json_rows(opened: Opened) -> Iterator[Row]:
    """Read an object a line; blank lines are passed over."""
    with opened() as file:
        for number, line in enumerate(file, 1):
            place = f"line {number}"
            try:
                text = _decoded(line, first=number == 1)
                if text.strip():
                    yield place, _object(json.loads(text))
            except UnicodeDecodeError as error:
                yield place, _not_utf8(line[error.start])
            except (ValueError, RecursionError) as error:
                yield place, f"is not JSON: {error}"


def text_rows(opened: Opened) -> Iterator[Row]:
    """Read a text a line, whichever way lines end; blank lines are passed over."""
    with opened() as file:
        # Lines that end as on old Macs are one for the file.
        lines = (part for line in file for part in line.splitlines() or [line])
        for number, line in enumerate(lines, 1):
            place = f"line {number}"
            if b"\0" in line:
                yield place, "is not UTF-8 text (a NUL byte, as in UTF-16); save the file as UTF-8"
                continue
            try:
                text = _decoded(line, first=number == 1).strip()
            except UnicodeDecodeError as error:
                yield place, _not_utf8(line[error.start])
                continue
            if text:
                yield place, {"text": text}


def folder_rows(folder: Path, files: list[Path]) -> Iterator[Row]:
    """Read each file as one text, named by its path below the folder."""
    for file in files:
        name = file.relative_to(folder).as_posix()
        content = file.read_bytes()
        try:
            yield name, {"id": name, "text": _decoded(content, first=True)}
        except UnicodeDecodeError as error:
            yield name, _not_utf8(content[error.start])


def csv_rows(file: Path, text_field: str, id_field: str) -> Iterator[Row]:
    """Read a header and rows; a row's place is its first line.

    Cells that are plain numbers become numbers, except in the text and id fields.

    Raises:
        SourceError: the header cannot be used, so that no row can.
    """
    rows = _csv_cells(file)
    place, header = next(rows, ("line 1", []))
    if isinstance(header, str):
        raise SourceError(f"{file}, {place} {header}")
    _check_header(header, text_field, f"{file}, {place}")
    fixed = _fixed_columns(file, len(header))
    for place, cells in rows:
        if isinstance(cells, str):
            yield place, cells
        elif len(cells) != len(header):
            yield (
                place,
                f"has {len(cells)} cells and the header {len(header)}; "
                "quote cells that hold commas",
            )
        else:
            named = zip(header, cells, fixed, strict=True)
            yield (
                place,
                {
                    name: cell if name in (text_field, id_field) else _cell(cell, fixed=same)
                    for name, cell, same in named
                },
            )


def parquet_rows(file: Path) -> Callable[[], Iterator[Row]]:
    """Return what reads a Parquet file; dates become ISO 8601 text, and decimals floats.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("reading Parquet files", "parquet") from error
    # Python has no year 11476 and no such text, and pyarrow has no error of its own for that.
    unreadable = (pa.ArrowException, ValueError, OverflowError, LookupError)

    def microseconds(batch: Any) -> Any:
        """Python keeps no nanoseconds."""
        for index, column in enumerate(batch.schema):
            if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
                kind = pa.timestamp("us", tz=column.type.tz)
                cast = batch.column(index).cast(kind, safe=False)
                batch = batch.set_column(index, column.name, cast)
        return batch

    def batch_rows(batch: Any) -> Iterator[dict[str, Any] | str]:
        try:
            yield from microseconds(batch).to_pylist()
        except unreadable as error:
            if len(batch) == 1:
                yield f"cannot be read: {error}"
                return
            for index in range(len(batch)):
                yield from batch_rows(batch.slice(index, 1))

    def rows() -> Iterator[Row]:
        try:
            batches = parquet.ParquetFile(file).iter_batches(batch_size=1024)
            for number, row in enumerate(chain.from_iterable(map(batch_rows, batches)), 1):
                yield f"row {number}", _plain(row)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{file} cannot be read as Parquet: {error}") from error

    return rows


def _decoded(content: bytes, *, first: bool) -> str:
    return (content.removeprefix(BOM_UTF8) if first else content).decode()


def _not_utf8(byte: int) -> str:
    return f"is not UTF-8 (byte 0x{byte:02X}); save the file as UTF-8"


def _object(found: Any) -> dict[str, Any] | str:
    if isinstance(found, dict):
        return found
    return f"is a {type(found).__name__}; it must be an object"


def _csv_cells(file: Path) -> Iterator[tuple[str, list[str] | str]]:
    """Yield the cells of each row that is not blank, or what is wrong with it."""
    csv.field_size_limit(_MAX_CELL)
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        while True:
            place = f"line {reader.line_num + 1}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield place, f"is not CSV: {error}"
                continue
            if escaped := lone_surrogate("".join(cells)):
                # `surrogateescape` makes a byte 0xE9 that is not UTF-8 the character U+DCE9.
                yield place, _not_utf8(ord(escaped) - 0xDC00)
            elif cells:
                yield place, cells


def _check_header(header: list[str], text_field: str, place: str) -> None:
    if len(set(header)) < len(header):
        raise SourceError(f"{place}: a column is named twice in the header")
    if len(header) == 1 and header != [text_field]:
        for sign, name in ((";", "semicolons"), ("\t", "tabs")):
            if sign in header[0]:
                raise SourceError(f"{place}: cells are divided by {name}; divide them by commas")


def _fixed_columns(file: Path, width: int) -> list[bool]:
    """Say of each column whether all its fractions have as many digits: prices, not versions."""
    decimals: list[set[int]] = [set() for _ in range(width)]
    for _, cells in _csv_cells(file):
        if len(cells) == width and isinstance(cells, list):
            for found, cell in zip(decimals, cells, strict=True):
                if (number := _NUMBER.fullmatch(cell)) and number[2]:
                    found.add(len(number[2]))
    return [len(found) < 2 for found in decimals]


def _cell(cell: str, *, fixed: bool) -> str | int | float:
    """Return a number where the cell is one, and nothing is lost by reading it as one."""
    number = _NUMBER.fullmatch(cell)
    if number is None or sum(map(str.isdigit, cell)) > _MAX_DIGITS:
        return cell
    if number[2] is None:
        return int(cell)
    # Where 1.9 and 1.10 stand in one column, 1.1 is a third thing.
    return cell if number[2].endswith("0") and not fixed else float(cell)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (date, time)):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value
