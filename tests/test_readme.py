"""What the README shows is run: its Python session, its commands, and the examples."""

from __future__ import annotations

import doctest
import random
import re
import runpy
import shlex
from pathlib import Path

import pytest

from inbedder_retrieval.cli import main
from tests.conftest import write_jsonl

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_session_prints_what_it_says() -> None:
    failed, tried = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert tried >= 8
    assert failed == 0


def test_the_commands_for_a_file_of_ones_own_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["The waiter was rude.", "Lovely soup, kind staff.", "Never again, and it was cold."]
    pick = random.Random(0)
    rows: list[dict[str, object]] = [
        {"id": k, "text": f"{pick.choice(texts)} Visit {k}.", "city": "Leeds", "stars": k % 5}
        for k in range(12)
    ]
    write_jsonl(tmp_path / "reviews.jsonl", rows)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```\w*\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    block = next(block for block in blocks if "reviews.inb" in block)
    commands = block.replace("\\\n", " ").splitlines()
    assert len(commands) == 17
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "inbedder"
        assert main(arguments) == 0, command
        assert capsys.readouterr().out.strip(), command
    assert (tmp_path / "vectors.npz").is_file()


def test_every_module_of_the_map_exists() -> None:
    rows = re.findall(r"^\| (`[^|]*) \|", README, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([\w/]+)`", row)}
    package = ROOT / "inbedder_retrieval"
    assert named
    for name in named:
        assert (package / name).is_dir() or (package / f"{name}.py").is_file(), name
    shown = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| .*$", README, re.MULTILINE))))
    assert shown <= told


def is_of_the_library(example: Path) -> bool:
    """Whether an example needs nothing else; the others are run by integrations/tests."""
    text = example.read_text(encoding="utf-8")
    return not re.search(r"^from (langchain|langgraph|llama_index)", text, re.MULTILINE)


EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.py")) if is_of_the_library(path)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(example), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) > 3
