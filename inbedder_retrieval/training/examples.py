"""Examples: files of texts, questions and answers, whatever their fields are called.

Rows of `.jsonl` or `.ndjson` (also `.gz`), or of a `.json` file that is one list. Each is one of:

    {"text": ..., "question": ..., "answer": ...}         also {"i", "q", "a"}, {"source": ...}
    {"text": ..., "qa": [[question, answer], ...]}        one text under many questions
    {"context": ..., "question": ..., "answers": ...}     SQuAD, a row a question
    {"data": [{"paragraphs": [...]}]}                     SQuAD's own file
    {"input": ..., "instruction": ..., "output": ...}     Alpaca, and InBedder's own files

A row without a text, question or answer is broken, as is one whose answer is empty (SQuAD's
unanswerable questions, Alpaca's rows without an input): it is named with its place and counted,
never passed over in silence. Rows of one file with the same text become one example.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, cast

from inbedder_retrieval.documents import lone_surrogate
from inbedder_retrieval.errors import SourceError
from inbedder_retrieval.readers import Row, json_rows
from inbedder_retrieval.training.cleaning import clean_answer

__all__ = ["Example", "ExampleFile", "data_files", "example_rows", "read_examples"]

TEXT = ("text", "i", "context", "input", "passage", "sentence")
QUESTION = ("question", "q", "instruction")
ANSWER = ("answer", "a", "answers", "output", "label")
KINDS = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")


@dataclass(frozen=True)
class Example:
    """A text and what is asked about it.

    Attributes:
        pairs: questions with their answers.
        place: where it stands: the file, and the line of its first row.
        source: what that row says of where it comes from, in `s` or `source`.
    """

    text: str
    pairs: tuple[tuple[str, str], ...]
    place: str
    source: str = ""


@dataclass
class ExampleFile:
    """What was read of one file.

    Attributes:
        rows: how many rows there were, broken ones included.
        bad: what is wrong with each row that is broken, with its place.
        repeated: pairs that were there already, word for word.
        unanswered: pairs whose answer has no word left after cleaning.
    """

    path: Path
    examples: list[Example] = field(default_factory=list)
    rows: int = 0
    bad: list[str] = field(default_factory=list)
    repeated: int = 0
    unanswered: int = 0

    @property
    def pairs(self) -> int:
        """How many questions with answers there are."""
        return sum(len(example.pairs) for example in self.examples)


def data_files(given: Sequence[str | Path]) -> list[Path]:
    """Return the files that are named, and those in the folders that are, in order.

    Raises:
        SourceError: there is no such file or folder, or it holds nothing this module reads.
    """
    found: list[Path] = []
    for name in map(Path, given):
        if name.is_dir():
            inside = sorted(path for path in name.iterdir() if _kind(path))
            if not inside:
                raise SourceError(f"{name} holds no file of examples; wanted {', '.join(KINDS)}")
            found += inside
        elif not name.is_file():
            raise SourceError(f"there is no file or folder {name}; check the name")
        elif not _kind(name):
            raise SourceError(f"{name} is no file of examples; wanted {', '.join(KINDS)}")
        else:
            found.append(name)
    return found


def read_examples(path: str | Path, *, clean: bool = False) -> ExampleFile:
    """Read one file whole.

    Args:
        clean: clean the answers (see `cleaning.py`).

    Raises:
        SourceError: the file cannot be read at all. Broken rows are in the result.
    """
    found = ExampleFile(Path(path))
    by_text: dict[str, int] = {}
    seen: dict[str, set[tuple[str, str]]] = {}
    for place, row in example_rows(found.path):
        found.rows += 1
        where = f"{found.path}, {place}"
        read = row if isinstance(row, str) else _read(row)
        if isinstance(row, str) or isinstance(read, str):
            found.bad.append(f"{where} {read}")
            continue
        text, pairs = read
        if clean:
            cleaned = [(question, clean_answer(answer)) for question, answer in pairs]
            pairs = [pair for pair in cleaned if pair[1]]
            found.unanswered += len(cleaned) - len(pairs)
        known = seen.setdefault(text, set())
        new: list[tuple[str, str]] = []
        for pair in pairs:
            if pair not in known:
                known.add(pair)
                new.append(pair)
        found.repeated += len(pairs) - len(new)
        if not new:
            continue
        if text in by_text:
            earlier = found.examples[by_text[text]]
            found.examples[by_text[text]] = replace(earlier, pairs=(*earlier.pairs, *new))
        else:
            by_text[text] = len(found.examples)
            source = row.get("s", row.get("source"))
            named = source if isinstance(source, str) else ""
            found.examples.append(Example(text, tuple(new), where, named))
    return found


def _kind(path: Path) -> bool:
    return path.name.lower().endswith(KINDS)


def example_rows(path: Path) -> Iterator[Row]:
    """Yield rows with their places, whichever way the file is written.

    Raises:
        SourceError: the file cannot be read at all.
    """

    def opened() -> AbstractContextManager[IO[bytes]]:
        compressed = path.suffix.lower() == ".gz"
        return cast("IO[bytes]", gzip.open(path) if compressed else path.open("rb"))

    try:
        if not path.name.lower().removesuffix(".gz").endswith(".json"):
            yield from json_rows(opened)
            return
        with opened() as file:
            whole = json.loads(file.read().decode("utf-8-sig"))
    except (OSError, EOFError, ValueError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    if isinstance(whole, dict) and isinstance(whole.get("data"), list):
        if any(isinstance(article, dict) and "paragraphs" in article for article in whole["data"]):
            yield from _squad(whole["data"])
            return
        whole = whole["data"]
    if not isinstance(whole, list):
        raise SourceError(f"{path} holds neither a list of rows nor SQuAD's articles")
    for number, row in enumerate(whole, 1):
        yield f"row {number}", row if isinstance(row, dict) else "is no object"


def _squad(articles: Iterable[Any]) -> Iterator[Row]:
    """Yield the questions of SQuAD's own file as rows."""
    number = 0
    for article in articles:
        for paragraph in article.get("paragraphs", ()) if isinstance(article, dict) else ():
            if not isinstance(paragraph, dict):
                continue
            for asked in paragraph.get("qas", ()):
                number += 1
                row = asked if isinstance(asked, dict) else {}
                yield f"question {number}", {**row, "context": paragraph.get("context")}


def _read(row: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]] | str:
    """Return a row's text and pairs, or what is wrong with it, beginning with a verb."""
    # Alpaca's files have the whole prompt under `text`, with the answer in it.
    alpaca = "instruction" in row and "output" in row
    text = _field(row, ("input",) if alpaca else TEXT)
    if isinstance(text, _Wrong):
        return text.named("text", TEXT, row)
    if "qa" in row:
        return _several(text, row["qa"])
    question = _field(row, QUESTION)
    if isinstance(question, _Wrong):
        return question.named("question", QUESTION, row)
    answer = _field(row, ANSWER)
    if isinstance(answer, _Wrong):
        return answer.named("answer", ANSWER, row)
    return text, [(question, answer)]


def _several(text: str, pairs: Any) -> tuple[str, list[tuple[str, str]]] | str:
    wanted = "wanted a list of [question, answer]"
    if not isinstance(pairs, list) or not pairs:
        return f"has no pairs in 'qa'; {wanted}"
    found: list[tuple[str, str]] = []
    for number, pair in enumerate(pairs, 1):
        if isinstance(pair, Mapping):
            pair = [_plain(_field(pair, QUESTION)), _plain(_field(pair, ANSWER))]
        if not isinstance(pair, list) or len(pair) != 2:
            return f"has no pair {number} in 'qa'; {wanted}"
        question, answer = (_string(part) for part in pair)
        if isinstance(question, _Wrong) or isinstance(answer, _Wrong):
            return f"has an empty or strange pair {number} in 'qa'; {wanted}, both strings"
        found.append((question, answer))
    return text, found


@dataclass(frozen=True)
class _Wrong:
    what: str

    def named(self, name: str, fields: tuple[str, ...], row: Mapping[str, Any]) -> str:
        if self.what == "missing":
            there = ", ".join(repr(key) for key in row) or "none"
            return f"has no {name} (there are {there}); wanted one of {', '.join(fields)}"
        return f"has {self.what} for its {name}; wanted a string that holds some text"


def _field(row: Mapping[str, Any], names: tuple[str, ...]) -> str | _Wrong:
    for name in names:
        if name in row:
            return _string(row[name])
    return _Wrong("missing")


def _string(value: Any) -> str | _Wrong:
    """Return a string, of SQuAD's answers the first."""
    if isinstance(value, Mapping) and "text" in value:
        value = value["text"]
    if isinstance(value, list):
        value = value[0] if value else ""
        if isinstance(value, Mapping):
            value = value.get("text")
    if not isinstance(value, str):
        return _Wrong(f"{type(value).__name__}")
    if (half := lone_surrogate(value)) is not None:
        return _Wrong(f"the lone surrogate U+{ord(half):04X}")
    return value.strip() or _Wrong("nothing")


def _plain(value: str | _Wrong) -> str | None:
    return None if isinstance(value, _Wrong) else value
