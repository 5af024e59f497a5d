"""What the tests of the command line share: rows, views, and how a command is run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from inbedder_retrieval import ViewCollection, Views
from inbedder_retrieval.cli import main
from tests.conftest import write_jsonl

FEELING = "feeling=How does the customer feel?"
NEED = "need=What does the customer need?"
VIEWS = ["--view", "general", "--view", FEELING, "--view", NEED]
QUESTIONS = Views.of(
    {
        "general": None,
        "feeling": "How does the customer feel?",
        "need": "What does the customer need?",
    }
)
QUERY = "I am furious, this phone never worked. Give me my money back!"
HAPPENED = ["arrived broken and I am furious", "is wonderful", "never came and I worry", "is odd"]
ROWS: list[dict[str, object]] = [
    {
        "id": f"r{number}",
        "text": f"My {product} {what}. Please send me {wanted}.",
        "product": product,
        "price": 2.5 * number,
        "new": number % 2 == 0,
    }
    for number, (product, what, wanted) in enumerate(
        (product, what, wanted)
        for product in ("phone", "lamp", "chair", "bike", "kettle")
        for what in HAPPENED
        for wanted in ("a refund", "an invoice")
    )
]
TEXTS = [str(row["text"]) for row in ROWS]


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command and tells what it answered."""

    def run(*argv: object) -> Said:
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        return Said(code, *capsys.readouterr())

    return run


def index_rows(folder: Path) -> tuple[Path, Path]:
    """Write the rows into a file and index it; return the file and the collection."""
    source, location = write_jsonl(folder / "rows.jsonl", ROWS), folder / "rows.inb"
    assert main(["index", str(source), "--to", str(location), *VIEWS]) == 0
    return source, location


def stored(location: Path) -> int:
    with ViewCollection.open(location) as collection:
        return collection.count()


def refused(said: Said, message: str) -> None:
    """Bad input: exit code 2, and one line that says what is wrong."""
    assert said.out == ""
    assert re.fullmatch(r"error: [^\n]+\n", said.err), said.err
    assert re.search(message, said.err), said.err
    assert said.code == 2
