"""Sources: files and folders read as documents.

    .jsonl .ndjson   an object a line; the fields beside text and id become metadata
    .csv             a header and rows, likewise; cells that are plain numbers become numbers
    .parquet         rows, likewise (needs the extra `parquet`); dates become ISO 8601 text
    .txt             a text a line; blank lines are passed over
    a folder         every .txt and .md file below it, named by its path
    -                standard input: JSON lines if it begins with `{`, else a text a line

A source is read twice: `scan` finds every broken row and every repeated id before anything is
embedded or written, and counts what is to be done; `documents` then yields the documents.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeAlias

from inbedder_retrieval.documents import Document, lone_surrogate
from inbedder_retrieval.errors import DocumentError, MissingExtraError, SourceError

__all__ = ["Scan", "Source", "open_source"]

Row: TypeAlias = "tuple[str, dict[str, Any] | SourceError]"
Opened: TypeAlias = Callable[[], AbstractContextManager[IO[bytes]]]

KINDS = (".jsonl", ".ndjson", ".csv", ".parquet", ".txt", ".md")
# A number as people write it, and no code: no leading zeros, no more digits than a float keeps.
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?")
_MAX_CELL = 2**31 - 1


@dataclass
class Scan:
    """What a first reading found.

    Attributes:
        duplicates: rows whose id comes again later; the last one counts.
        bad: what is wrong with each row that cannot be read, with its place.
        last: the number of the last row of each id.
    """

    duplicates: int = 0
    bad: list[str] = field(default_factory=list)
    last: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many documents there are, each id counted once."""
        return len(self.last)


@dataclass(frozen=True)
class Source:
    """Rows somewhere, and which of their fields are the text and the id. See `open_source`."""

    name: str
    rows: Callable[[], Iterator[Row]]
    text_field: str
    id_field: str | None

    def scan(self, *, skip_bad: bool = False) -> Scan:
        """Read everything once, keeping ids only.

        Raises:
            SourceError: a row is broken and `skip_bad` is off; it names the row's place.
        """
        scan = Scan()
        for number, found in enumerate(self._read()):
            if isinstance(found, Document):
                scan.duplicates += found.id in scan.last
                scan.last[found.id] = number
            elif skip_bad:
                scan.bad.append(str(found))
            else:
                raise found
        return scan

    def documents(self, scan: Scan) -> Iterator[Document]:
        """Yield the documents, passing over broken rows and all but the last of each id."""
        for number, found in enumerate(self._read()):
            if isinstance(found, Document) and scan.last.get(found.id) == number:
                yield found

    def _read(self) -> Iterator[Document | SourceError]:
        for place, row in self.rows():
            if isinstance(row, SourceError):
                yield row
                continue
            try:
                yield self._document(row)
            except DocumentError as error:
                yield SourceError(f"{self.name}, {place}: {error}")

    def _document(self, row: dict[str, Any]) -> Document:
        for key, value in row.items():
            half = lone_surrogate(value) if isinstance(value, str) else None
            if half is not None and 0xDC80 <= ord(half) <= 0xDCFF:
                # What `errors="surrogateescape"` makes of a byte that is not UTF-8.
                raise DocumentError(
                    f"the field {key!r} is not UTF-8 (byte 0x{ord(half) - 0xDC00:02X}); "
                    "save the file as UTF-8"
                )
        if self.text_field not in row:
            raise DocumentError(
                f"there is no field {self.text_field!r} (there are {_listed(row)}); "
                "name the field that holds the text with --text-field"
            )
        rest = dict(row)
        text = rest.pop(self.text_field)
        if self.id_field is not None and self.id_field not in rest:
            raise DocumentError(
                f"there is no field {self.id_field!r} (there are {_listed(row)}); "
                "name the field that holds the id with --id-field, or leave it out"
            )
        return Document(text, id=rest.pop(self.id_field or "id", None), metadata=rest)


def open_source(path: str, *, text_field: str = "text", id_field: str | None = None) -> Source:
    """Find out how to read a source. Nothing is read yet, but standard input is taken in.

    Args:
        path: a file, a folder, or `-` for standard input.
        text_field: the field that holds the text, where rows have fields.
        id_field: the field that holds the id; None takes `id` where there is one, and else names
            a document by what it holds.

    Raises:
        SourceError: there is no such file, or nothing in it that can be read.
        MissingExtraError: a Parquet file without pyarrow.
    """
    make = partial(Source, text_field=text_field, id_field=id_field)
    if path == "-":
        copy = _standard_input()
        return make("standard input", partial(_lines, copy, "standard input"))
    file = Path(path)
    if file.is_dir():
        files = sorted(p for p in file.rglob("*") if p.suffix in (".txt", ".md") and p.is_file())
        if not files:
            raise SourceError(f"{path} has no .txt or .md file in it; give a folder that has some")
        return Source(path, partial(_folder, file, files), "text", "id")
    if not file.is_file():
        raise SourceError(f"there is no file or folder {path}; check the name")
    kind = file.suffix.lower()
    if kind in (".jsonl", ".ndjson"):
        return make(path, partial(_json_lines, _opener(file), path))
    if kind in (".txt", ".md"):
        return Source(path, partial(_text_lines, _opener(file)), "text", None)
    if kind == ".csv":
        return make(path, partial(_csv, file, {text_field, id_field or "id"}))
    if kind == ".parquet":
        return make(path, _parquet(file))
    raise SourceError(
        f"{path} is a {kind or 'nameless'} file; this reads {', '.join(KINDS)}, a folder, or -"
    )


def _standard_input() -> IO[bytes]:
    copy = tempfile.TemporaryFile()  # noqa: SIM115  read twice, and gone when the source is.
    while block := sys.stdin.buffer.read(1 << 20):
        copy.write(block)
    return copy


def _lines(copy: IO[bytes], name: str) -> Iterator[Row]:
    copy.seek(0)
    start = copy.read(256).lstrip()
    if start.startswith(b"{"):
        return _json_lines(partial(_rewound, copy), name)
    return _text_lines(partial(_rewound, copy))


def _opener(file: Path) -> Opened:
    return lambda: file.open("rb")


@contextmanager
def _rewound(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Lend a file from its beginning, and leave it open, for it is read again."""
    file.seek(0)
    yield file


def _json_lines(opened: Opened, name: str) -> Iterator[Row]:
    with opened() as file:
        for number, line in enumerate(file, 1):
            place = f"line {number}"
            text = _decoded(line, number)
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield place, SourceError(f"{name}, {place} is not JSON: {error}")
                continue
            if isinstance(row, dict):
                yield place, row
            else:
                kind = type(row).__name__
                yield place, SourceError(f"{name}, {place} is a {kind}; it must be an object")


def _text_lines(opened: Opened) -> Iterator[Row]:
    with opened() as file:
        for number, line in enumerate(file, 1):
            text = _decoded(line, number).strip()
            if text:
                yield f"line {number}", {"text": text}


def _decoded(line: bytes, number: int) -> str:
    return line.decode("utf-8-sig" if number == 1 else "utf-8", errors="surrogateescape")


def _folder(folder: Path, files: list[Path]) -> Iterator[Row]:
    for file in files:
        name = file.relative_to(folder).as_posix()
        text = file.read_bytes().decode("utf-8-sig", errors="surrogateescape")
        yield name, {"id": name, "text": text}


def _csv(file: Path, kept: set[str]) -> Iterator[Row]:
    csv.field_size_limit(_MAX_CELL)
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        header: list[str] | None = None
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield (
                    f"line {reader.line_num}",
                    SourceError(f"{file}, line {reader.line_num} is not CSV: {error}"),
                )
                continue
            place = f"line {reader.line_num}"
            if not cells:
                continue
            if header is None:
                header = cells
                if len(set(header)) < len(header):
                    raise SourceError(f"{file}, {place}: a column is named twice in the header")
            elif len(cells) != len(header):
                yield (
                    place,
                    SourceError(
                        f"{file}, {place} has {len(cells)} cells and the header {len(header)}; "
                        "quote cells that hold commas"
                    ),
                )
            else:
                named = zip(header, cells, strict=True)
                yield place, {name: c if name in kept else _cell(c) for name, c in named}


def _cell(cell: str) -> str | int | float:
    if not _NUMBER.fullmatch(cell):
        return cell
    return float(cell) if "." in cell else int(cell)


def _parquet(file: Path) -> Callable[[], Iterator[Row]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MissingExtraError("reading Parquet files", "parquet") from error

    def rows() -> Iterator[Row]:
        number = 0
        try:
            for batch in parquet.ParquetFile(file).iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", {key: _plain(value) for key, value in row.items()}
        except (ArrowException, OSError) as error:
            raise SourceError(f"{file} cannot be read as Parquet: {error}") from error

    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, (date, time)):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


def _listed(row: dict[str, Any]) -> str:
    return ", ".join(repr(key) for key in row) or "none"
