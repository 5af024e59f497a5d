"""Rows: files of texts with what people said of them, one format for each kind of task.

A file is `.jsonl`, `.ndjson` (either may end in `.gz`), `.csv` or `.parquet`. A row is an object
with these fields; other names that are understood stand after a slash, and what is in brackets may
be left out:

    clustering   text/sentence, label/cluster, [instruction], [aspect]
    triplets     anchor, positive, negative, [instruction], [aspect]
    csts         text1/sentence1, text2/sentence2, instruction, score/label
    sts          text1/sentence1, text2/sentence2, score/label
    retrieval    text/document/passage, [query], [score], [instruction]

`instruction` (or `question`, or `condition`) is what is asked of the row's texts; without one the
general view is taken. Rows of different `aspect` are scored apart, and their harmonic mean is the
task's score. In retrieval a row is a judged pair, of score 1 where none is given; a score of 0, or
a row without a query, makes a text that is to be searched and not to be found.

This module knows no model. A row that breaks these rules is named by its place and counted.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias, cast, get_args

from inbedder_retrieval.documents import lone_surrogate
from inbedder_retrieval.errors import SourceError
from inbedder_retrieval.readers import Row, csv_rows, json_rows, parquet_rows

__all__ = ["KINDS", "Judged", "Kind", "judged_rows", "read_rows"]

Kind: TypeAlias = Literal["clustering", "triplets", "csts", "sts", "retrieval"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ENDINGS = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".csv", ".parquet")

Names: TypeAlias = "tuple[str, ...]"
INSTRUCTION: Names = ("instruction", "question", "condition")
ASPECT: Names = ("aspect",)
SCORE: Names = ("score", "label")
PAIR: tuple[Names, ...] = (("text1", "sentence1"), ("text2", "sentence2"))
TEXTS: dict[Kind, tuple[Names, ...]] = {
    "clustering": (("text", "sentence"),),
    "triplets": (("anchor",), ("positive",), ("negative",)),
    "csts": PAIR,
    "sts": PAIR,
    "retrieval": (("text", "document", "passage"),),
}
LABEL: Names = ("label", "cluster")
QUERY: Names = ("query",)


@dataclass(frozen=True)
class Judged:
    """Texts, what is asked of them, and what people said.

    Attributes:
        texts: one for clustering, anchor, positive and negative for triplets, two of a pair;
            the text and the query for retrieval, or the text alone.
        label: the cluster that the text belongs to; empty for other kinds.
        score: how alike or relevant; 0 for kinds without.
    """

    texts: tuple[str, ...]
    instruction: str | None = None
    aspect: str = ""
    label: str = ""
    score: float = 0.0


def read_rows(path: str | Path, kind: Kind) -> Iterator[Judged | str]:
    """Read a file's rows; a broken one comes as what is wrong with it, place and all.

    Raises:
        SourceError: there is no such file, or it cannot be read as what its name says.
        MissingExtraError: a Parquet file without pyarrow.
    """
    file = Path(path)
    name = file.name.lower()
    if not file.is_file():
        raise SourceError(f"there is no file {path}; check the name")
    if not name.endswith(ENDINGS):
        raise SourceError(f"{path} cannot be evaluated on; give a file of {', '.join(ENDINGS)}")
    if name.endswith(".csv"):
        rows = csv_rows(file, "text", "label")
    elif name.endswith(".parquet"):
        rows = parquet_rows(file)()
    else:
        rows = json_rows(partial(_opened, file, name.endswith(".gz")))
    try:
        yield from judged_rows(rows, kind, str(path))
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error


def judged_rows(rows: Iterable[Row], kind: Kind, source: str) -> Iterator[Judged | str]:
    """Check rows, each with its place, and yield what they say, or what is wrong with them."""
    for place, row in rows:
        if isinstance(row, str):
            yield f"{source}, {place} {row}"
            continue
        try:
            yield _judged(row, kind)
        except SourceError as error:
            yield f"{source}, {place}: {error}"


def _opened(file: Path, packed: bool) -> AbstractContextManager[IO[bytes]]:
    return cast("IO[bytes]", gzip.open(file, "rb")) if packed else file.open("rb")


def _judged(row: dict[str, Any], kind: Kind) -> Judged:
    texts = tuple(_text(row, names) for names in TEXTS[kind])
    instruction = _maybe_text(row, INSTRUCTION)
    if kind == "csts" and instruction is None:
        raise SourceError(_lacking(row, INSTRUCTION))
    if kind == "sts":
        instruction = None
    label, score = "", 0.0
    if kind == "clustering":
        label = _label(row)
    elif kind in ("csts", "sts"):
        score = _number(row, SCORE)
    elif kind == "retrieval" and (query := _maybe_text(row, QUERY)) is not None:
        texts = (*texts, query)
        score = 1.0 if _found(row, SCORE[:1]) is None else _number(row, SCORE[:1])
        if score < 0:
            raise SourceError(f"the score is {score}; relevance is 0 or more")
    aspect = _found(row, ASPECT) if kind in ("clustering", "triplets") else None
    return Judged(texts, instruction, "" if aspect is None else str(aspect), label, score)


def _found(row: dict[str, Any], names: Sequence[str]) -> Any:
    """Return the first field that holds something; in CSV an empty cell is nothing."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def _text(row: dict[str, Any], names: Names) -> str:
    found = _maybe_text(row, names)
    if found is None:
        raise SourceError(_lacking(row, names))
    return found


def _maybe_text(row: dict[str, Any], names: Names) -> str | None:
    found = _found(row, names)
    if found is None or found != found:  # NaN, as pandas writes an empty cell.
        return None
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        # A cell of a CSV file that holds nothing but digits.
        found = str(found)
    if not isinstance(found, str) or not found.strip():
        raise SourceError(f"{_named(names)} is {found!r}; it must be a text that says something")
    if (half := lone_surrogate(found)) is not None:
        raise SourceError(f"{_named(names)} holds the lone surrogate U+{ord(half):04X}")
    return found


def _label(row: dict[str, Any]) -> str:
    found = _found(row, LABEL)
    if found is None:
        raise SourceError(_lacking(row, LABEL))
    if isinstance(found, float) and found.is_integer():
        # As pandas writes whole numbers of a column in which some are missing.
        found = int(found)
    if not isinstance(found, (str, int)):
        raise SourceError(f"{_named(LABEL)} is {found!r}; it must be a text or a whole number")
    return str(found)


def _number(row: dict[str, Any], names: Names) -> float:
    found = _found(row, names)
    if found is None:
        raise SourceError(_lacking(row, names))
    number = math.nan
    # A cell of a CSV file is text where it is written as no number is written back.
    if isinstance(found, (int, float, str)) and not isinstance(found, bool):
        with suppress(ValueError, OverflowError):
            number = float(found)
    if not math.isfinite(number):
        raise SourceError(f"{_named(names)} is {found!r}; it must be a finite number")
    return number


def _lacking(row: dict[str, Any], names: Names) -> str:
    there = ", ".join(repr(key) for key in row) or "none"
    return f"there is no field {_named(names)} that holds something (there are {there})"


def _named(names: Names) -> str:
    return " or ".join(repr(name) for name in names)
