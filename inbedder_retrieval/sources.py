"""Sources: files and folders read as documents.

    .jsonl .ndjson   an object a line; the fields beside text and id become metadata
    .csv             a header and rows, likewise; cells that are plain numbers become numbers
    .parquet         rows, likewise (needs the extra `parquet`); dates become ISO 8601 text
    .txt             a text a line; blank lines are passed over
    .md              one text, named by the file
    a folder         every .txt and .md file below it, named by its path
    -                standard input: JSON lines if it begins with `{`, else a text a line

A source is read twice: `scan` finds every broken row and every repeated id before anything is
embedded or written, and counts what is to be done; `documents` then yields the documents.
"""

from __future__ import annotations

import sys
import tempfile
import weakref
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from inbedder_retrieval.documents import Document, content_id
from inbedder_retrieval.errors import DocumentError, SourceError
from inbedder_retrieval.readers import (
    Opened,
    Row,
    csv_rows,
    folder_rows,
    json_rows,
    parquet_rows,
    text_rows,
)

__all__ = ["Scan", "Source", "open_source"]

KINDS = (".jsonl", ".ndjson", ".csv", ".parquet", ".txt", ".md")


@dataclass
class Scan:
    """What a first reading found.

    Attributes:
        duplicates: rows whose id comes again later; the last one counts.
        repeated: those among them that have no id of their own, and are repeated word for word.
        bad: what is wrong with each row that cannot be read, with its place.
        last: the number of the last row of each id.
    """

    duplicates: int = 0
    repeated: int = 0
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
                if found.id in scan.last:
                    scan.duplicates += 1
                    scan.repeated += found.id == content_id(found.text, found.metadata)
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
            if isinstance(row, str):
                yield SourceError(f"{self.name}, {place} {row}")
                continue
            try:
                yield self._document(row)
            except DocumentError as error:
                yield SourceError(f"{self.name}, {place}: {error}")

    def _document(self, row: dict[str, Any]) -> Document:
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
        return _standard_input(make)
    if not path:
        raise SourceError("the source is an empty name; give a file, a folder, or -")
    file = Path(path)
    if file.is_dir():
        return Source(path, partial(folder_rows, file, _text_files(file)), "text", "id")
    if not file.exists():
        raise SourceError(f"there is no file or folder {path}; check the name")
    if not file.is_file():
        raise SourceError(
            f"{path} is a pipe or a device, which can be read only once; pipe it into -"
        )
    kind = file.suffix.lower()
    if kind in (".jsonl", ".ndjson"):
        return make(path, partial(json_rows, _opener(file)))
    if kind == ".txt":
        return Source(path, partial(text_rows, _opener(file)), "text", None)
    if kind == ".md":
        return Source(path, partial(folder_rows, file.parent, [file]), "text", "id")
    if kind == ".csv":
        return make(path, partial(csv_rows, file, text_field, id_field or "id"))
    if kind == ".parquet":
        return make(path, parquet_rows(file))
    raise SourceError(
        f"{path} is a {kind or 'nameless'} file; this reads {', '.join(KINDS)}, a folder, or -"
    )


def _opener(file: Path) -> Opened:
    return lambda: file.open("rb")


def _text_files(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in (".txt", ".md"))
    if found := sorted(path for path in files if path.is_file()):
        return found
    raise SourceError(f"{folder} has no .txt or .md file in it; give a folder that has some")


def _standard_input(make: Callable[[str, Callable[[], Iterator[Row]]], Source]) -> Source:
    copy = tempfile.TemporaryFile()  # noqa: SIM115  read twice, and gone when the source is.
    while block := sys.stdin.buffer.read(1 << 20):
        copy.write(block)
    opened: Opened = partial(_rewound, copy)
    source = make("standard input", partial(json_rows if _is_json(copy) else text_rows, opened))
    weakref.finalize(source, copy.close)
    return source


def _is_json(file: IO[bytes]) -> bool:
    file.seek(0)
    starts = (line.removeprefix(BOM_UTF8).lstrip() for line in file)
    return next(filter(None, starts), b"").startswith(b"{")


@contextmanager
def _rewound(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Lend a file from its beginning, and leave it open, for it is read again."""
    file.seek(0)
    yield file


def _listed(row: dict[str, Any]) -> str:
    return ", ".join(repr(key) for key in row) or "none"
