"""Every architecture and strategy against plain transformers, to 1e-5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inbedder_retrieval import Embedder, View, Views
from inbedder_retrieval.checkpoint import find_checkpoint
from inbedder_retrieval.recipe import Recipe
from tests.architectures import ARCHITECTURES, CAUSAL, MASKED, build, plain_vectors

QUESTION = "How does the customer feel?"
TEXTS = [
    "the phone is broken",
    "a <mask> in the text, <mask><mask>",
    "  spaces before, newlines after \n\n",
    "love it \U0001f600\U0001f44d\U0001f3fd, très bien",
    "",
    "x",
    "{question} and {text}, said the customer",
    " ".join(f"word{k} lamp" for k in range(1000)),
]
TOLERANCE = 1e-5


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("architectures")
    return {name: build(name, root / name) for name in ARCHITECTURES}


def recipe_of(folder: Path, **changes: object) -> Recipe:
    """The derived recipe with changes, checked again as a whole."""
    derived = find_checkpoint(folder).recipe
    return Recipe.model_validate(derived.model_dump() | {"max_tokens": 160} | changes)


STRATEGIES = [
    *[
        (name, change)
        for name in MASKED
        for change in (
            {},
            {"head": "mlm"},
            {"head": "mlm", "standardize": True},
            {"pooling": "avg_ppt"},
            {"pooling": "avg_all"},
            {"layer": 1},
            {"layer": 0},
            {"cut": "start"},
        )
    ],
    *[
        (name, change)
        for name in CAUSAL
        for change in (
            {},
            {"pooling": "avg_gen"},
            {"pooling": "avg_gen", "new_tokens": 6},
            {"pooling": "last_gen"},
            {"pooling": "avg_ppt"},
            {"pooling": "avg_all"},
            {"pooling": "avg_gen", "new_tokens": 1},
            {"layer": 1},
            {"layer": 2},
            {"cut": "start"},
        )
    ],
    *[
        ("t5", change)
        for change in (
            {},
            {"pooling": "avg_gen"},
            {"pooling": "last_gen"},
            {"pooling": "avg_ppt"},
            {"layer": 1},
            {"pooling": "avg_ppt", "layer": 1},
        )
    ],
]


@pytest.mark.parametrize(
    ("name", "changes"), STRATEGIES, ids=lambda value: str(value).replace(" ", "")
)
def test_vectors_are_those_of_plain_transformers(
    folders: dict[str, Path], name: str, changes: dict[str, object]
) -> None:
    recipe = recipe_of(folders[name], **changes)
    embedder = Embedder(folders[name], recipe=recipe, backend="torch")
    views = Views.of({"feeling": QUESTION, "need": "What is needed?", "again": QUESTION})
    found = embedder.embed(TEXTS, views, token_budget=700)
    expected = plain_vectors(name, folders[name], recipe, TEXTS, QUESTION)
    assert np.abs(found["feeling"] - expected).max() < TOLERANCE
    assert np.abs(found["again"] - expected).max() < TOLERANCE
    alone = embedder.embed(TEXTS[:1], View("need", "What is needed?"))["need"]
    assert np.abs(found["need"][:1] - alone).max() < TOLERANCE
    assert found.truncated == [7]
