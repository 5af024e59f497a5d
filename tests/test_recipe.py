from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inbedder_retrieval import CheckpointError, Recipe
from inbedder_retrieval.checkpoint import PACKAGED_MODELS

WRITTEN: dict[str, Any] = {
    "name": "tiny",
    "text_template": ["[CLS]", "{text}", "[SEP]"],
    "question_template": ["{question}", "[SEP]", "[MASK]"],
    "answer_token": "[MASK]",
    "max_text_tokens": 40,
    "max_positions": 96,
}


def write(folder: Path, **changes: Any) -> Path:
    (folder / "inbedder.json").write_text(json.dumps({**WRITTEN, **changes}), encoding="utf-8")
    return folder


def test_a_recipe_comes_back_from_its_file(tmp_path: Path) -> None:
    recipe = Recipe(
        name="größer",
        text_template=("{text}", "</s>"),
        question_template=("Q:", "{question}", "A:", "?"),
        answer_token="?",
        head="mlm",
        general="mean",
        max_text_tokens=10,
        max_positions=30,
        question_token_type=0,
        first_position=2,
        answer_norm=3.25,
        weights="0123456789abcdef",
    )
    recipe.save(tmp_path)
    assert Recipe.load(tmp_path) == recipe


def test_a_folder_without_a_recipe_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no inbedder\.json; a checkpoint needs one"):
        Recipe.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": "sideways"}, "attention"),
        ({"temperature": 1}, "temperature"),
        ({"name": ""}, "name"),
        ({"text_template": ["[CLS]"]}, "text_template.*'{text}' exactly once"),
        ({"text_template": ["{text}", "{text}"]}, "text_template.*'{text}' exactly once"),
        ({"question_template": ["[MASK]"]}, "question_template.*'{question}' exactly once"),
        ({"answer_token": "?"}, "answer_token"),
        ({"text_template": ["{text}"]}, "text_template must hold a token"),
        ({"max_text_tokens": 0}, "max_text_tokens"),
        ({"answer_norm": 0}, "answer_norm"),
        ({"max_text_tokens": 96}, "max_"),
        ({"question_start": -1}, "question_start"),
        ({"layer": 1, "reads_from": 1}, "must read its text in a layer before the pooled one"),
        ({"pooling": "fst_gen"}, "prefix attention pools answer slots only"),
        ({"pooling": "re_encode", "re_encoder": "x"}, "prefix attention pools answer slots only"),
        (
            {"model": "causal", "attention": "joint", "row_template": ["{text}", "{question}"]},
            "a causal model needs causal attention",
        ),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        Recipe.load(write(tmp_path, **changes))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"name": "\xff"}'])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "inbedder.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"inbedder\.json"):
        Recipe.load(tmp_path)


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inbedder.json").mkdir()
    with pytest.raises(CheckpointError, match=r"inbedder\.json"):
        Recipe.load(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"name": "renamed"}, {"answer_norm": 2.0}, {"general": "mean"}, {"weights": "0"}]
)
def test_what_does_not_change_a_vector_does_not_change_the_identity(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    before = Recipe.load(write(tmp_path)).identity()
    assert Recipe.load(write(tmp_path, **changes)).identity() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"text_template": ["{text}", "[SEP]"]},
        {"question_template": ["{question}", "[MASK]"]},
        {"question_template": ["{question}", "[SEP]", "[MASK]", "[MASK]"]},
        {"head": "mlm"},
        {"max_text_tokens": 39},
        {"question_token_type": 0},
        {"first_position": 2},
        {"question_start": 0},
        {"reads_from": 1},
    ],
)
def test_what_changes_a_vector_changes_the_identity(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    before = Recipe.load(write(tmp_path)).identity()
    assert Recipe.load(write(tmp_path, **changes)).identity() != before


def test_a_default_written_out_is_the_same_identity(tmp_path: Path) -> None:
    """So a field that is added later leaves the fingerprints of old checkpoints alone."""
    identity = Recipe.load(write(tmp_path)).identity()
    assert Recipe.load(write(tmp_path, attention="prefix", head="none")).identity() == identity
    assert json.loads(identity) == {key: WRITTEN[key] for key in WRITTEN if key != "name"}


def test_the_packaged_recipe_fits_its_model() -> None:
    folder = PACKAGED_MODELS / "inbedder-minilm"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    recipe = Recipe.load(folder)
    assert recipe.max_positions <= config["max_position_embeddings"]
    assert recipe.question_token_type < config["type_vocab_size"]
