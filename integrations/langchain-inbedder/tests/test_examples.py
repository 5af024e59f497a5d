"""Every example runs by itself, is short, and prints what its docstring promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SAYS = {
    "chain_of_two_views": [
        "About the same product:\n- Lovely tent!",
        "In the same mood:\n- The zip of my tent broke",
        "Reply to: I am so angry about my tent",
        "product: - Lovely tent!",
        "feeling: - The zip of my tent broke",
    ],
    "graph_node": [
        "by product:\nLovely tent!",
        "by feeling:\nWhere is my kettle?",
        "customers who are furious?",
    ],
    "index_what_changed": [
        "3 added, 0 updated, 0 skipped, 0 deleted",
        "0 added, 0 updated, 3 skipped, 0 deleted",
        "1 added, 0 updated, 1 skipped, 2 deleted",
        "returns.md says: A customer may send anything back within 60 days.",
    ],
}


def test_all_examples_are_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs_and_is_short(name: str, tmp_path: Path) -> None:
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")},
    )
    assert done.returncode == 0, done.stderr
    for line in SAYS[name]:
        assert line in done.stdout
    assert not any(tmp_path.iterdir())
