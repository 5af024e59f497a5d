"""Examples and configs for tests of training."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from inbedder_retrieval.training.config import TrainConfig
from inbedder_retrieval.training.examples import Example
from tests.conftest import write_jsonl

FEEL, NEED = "How does the customer feel?", "What does the customer need?"
PRODUCTS = ("phone", "lamp", "red chair")
FEELINGS = {"love it": "happy", "it is late": "angry", "it broke": "sad"}
NEEDS = {"thank you": "nothing", "where is my refund": "refund", "send a new one": "a new one"}


def examples() -> list[Example]:
    """Twenty-seven texts of different lengths, of two questions each, nine of three."""
    found: list[Example] = []
    for product, feeling, need in itertools.product(PRODUCTS, FEELINGS, NEEDS):
        pairs = [(FEEL, FEELINGS[feeling]), (NEED, NEEDS[need])]
        if product == "lamp":
            pairs.append(("What?", product))
        found.append(
            Example(f"the {product}, {feeling}, {need}", tuple(pairs), f"line {len(found)}")
        )
    return found


def write_examples(path: Path) -> Path:
    """Write the examples as a file of data."""
    rows: list[dict[str, object]] = [
        {"text": one.text, "qa": [list(pair) for pair in one.pairs]} for one in examples()
    ]
    return write_jsonl(path, rows)


def config_of(base: Path, kind: str, **changes: Any) -> TrainConfig:
    """A config for a few steps of a tiny model."""
    small: dict[str, Any] = {
        "base": str(base),
        "kind": kind,
        "steps": 6,
        "rows": 6,
        "token_budget": 1024,
        "learning_rate": 3e-3,
        "held_out": 3,
        "save_as": "float32",
    }
    return TrainConfig.of(small | changes)
