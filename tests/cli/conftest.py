"""A way to run commands, and rows to run them on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from inbedder_retrieval import Embedder, Embeddings
from tests.cli.commands import QUESTIONS, TEXTS, Run, index_rows, runner


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return index_rows(tmp_path_factory.mktemp("rows"))


@pytest.fixture
def source(rows: tuple[Path, Path]) -> Path:
    return rows[0]


@pytest.fixture
def indexed(rows: tuple[Path, Path]) -> Path:
    """The rows, indexed. Do not write to it."""
    return rows[1]


@pytest.fixture
def own(indexed: Path, tmp_path: Path) -> Path:
    """The rows, indexed, to write to."""
    return Path(shutil.copytree(indexed, tmp_path / "own.inb"))


@pytest.fixture(scope="session")
def expected(packaged: Embedder) -> Embeddings:
    """The vectors of the rows."""
    return packaged.embed(TEXTS, QUESTIONS)
