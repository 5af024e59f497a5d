"""The examples of the repository, those that need LangChain or LlamaIndex among them, run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SAYS = {
    "add_a_question": [
        "need is ready: What does the customer need?",
        "need: ['tent', 'stove']",
        "product: ['bag', 'tent']",
    ],
    "agent_picks_the_view": [
        "anything about the tent?\nSearched by product:",
        "customers who are furious?\nSearched by feeling:\n[late]",
    ],
    "query_engine": [
        "product ['bag', 'tent']",
        "need ['tent', 'thanks']",
        "Query: Who wants a refund for a tent?",
    ],
    "rag_over_a_folder": [
        "(repairs.md) # Repairs",
        "Kettles and stoves that leak must not be used any more",
        "Question: The kettle is leaking",
    ],
    "three_questions": [
        "product: Which product is it about?\n  0.97  Where",
        "feeling: How does the customer feel?",
        "need: What does the customer need?\n  0.86  The zip of my tent broke",
        "it is Friday, this is outrageous!\n        kettle",
        "it is Friday, this is outrageous!\n        anger",
        "I want my money back!\n        refund",
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
