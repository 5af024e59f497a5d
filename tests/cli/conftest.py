"""A way to run commands, and rows to run them on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Run, index_rows, runner


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
