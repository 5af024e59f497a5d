from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from inbedder_retrieval import InbedderError, InputError, SourceError
from inbedder_retrieval.cli_train import clean_answers, train
from inbedder_retrieval.training.config import TrainConfig
from tests.conftest import write_jsonl
from tests.training.rows import write_examples

app = typer.Typer()
app.command()(train)
app.command()(clean_answers)


def run(*arguments: str | Path) -> tuple[str, str]:
    """Run a command, raising what it raises; return standard output and error."""
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_examples(tmp_path / "rows.jsonl")


def test_a_model_is_trained_stopped_and_gone_on_with(
    tiny_folder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str | Path] = ["train", "--base", tiny_folder, "--data", data]
    given += ["--out", tmp_path / "model"]
    given += ["--steps", "3", "--learning-rate", "0.002", "--seed", "4"]
    given += ["--set", "losses.words=0.5", "--set", "export=false", "--set", "save_as=float32"]
    stopped = [str(one) for one in [*given, "--stop-after", "2"]]
    monkeypatch.setattr(sys, "argv", ["inbedder", *stopped])
    said, _ = run(*stopped)
    assert "stopped after step 2 of 3" in said
    assert said.rstrip().endswith("--set save_as=float32 --resume")
    assert "--stop-after" not in said
    report = json.loads(run(*given, "--resume", "--json")[0])
    assert (report["steps"], report["finished"], report["name"]) == (3, True, "model")
    config = TrainConfig.load(tmp_path / "model" / "training.toml")
    assert (config.seed, config.learning_rate, config.losses.words) == (4, 0.002, 0.5)
    assert config.save_as == "float32"


def test_a_dry_run_says_what_would_be_done(tiny_folder: Path, data: Path, tmp_path: Path) -> None:
    evaluation = write_jsonl(tmp_path / "eval.jsonl", [{"text": "the phone, love it, thank you"}])
    said, remarks = run(
        *("train", "--base", tiny_folder, "--data", data, "--out", tmp_path / "model"),
        *("--against", evaluation, "--dry-run", "--epochs", "2", "--token-budget", "512"),
    )
    assert "24 texts" in said
    assert "(2 epochs)" in said
    assert "1 text in an evaluation set left out:" in remarks
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to begin from; give --base"),
        (["--base", "nowhere"], "there is no model 'nowhere'"),
        (["--config", "nothing"], "the config nothing cannot be read: .*inbedder-minilm"),
        (["--base", "a", "--kind", "both"], "the options: kind"),
        (["--base", "a", "--set", "steps"], "--set is 'steps'; write key=value"),
        (["--base", "a", "--set", "losses.none=1"], r"the options: losses\.none"),
        (["--base", "a", "--lora"], "lora is for causal models"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    arguments: list[str], message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(InbedderError, match=message):
        run("train", "--data", data, "--out", tmp_path / "model", *arguments)
    assert not (tmp_path / "model").exists()


def test_answers_are_cleaned_and_counted(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"input": "the lamp", "instruction": "what?", "output": "It is the Lamp."},
        {"input": "the lamp", "instruction": "how?", "output": "..."},
        {"input": "the phone", "instruction": "what?", "output": "phone"},
    ]
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    said, _ = run("clean-answers", source, tmp_path / "clean.jsonl")
    assert "2 texts, 2 pairs; 1 answer changed, 1 left out without a word" in said
    written = [json.loads(line) for line in (tmp_path / "clean.jsonl").read_text().splitlines()]
    assert written == [
        {"text": "the lamp", "qa": [["what?", "lamp"]]},
        {"text": "the phone", "qa": [["what?", "phone"]]},
    ]


def test_broken_rows_are_refused_or_left_out_and_named(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('{"text": "t", "q": "q", "a": "yes"}\n{"text": "t"}\n')
    with pytest.raises(SourceError, match=r"line 2 has no question.*\(1 of 2 rows"):
        run("clean-answers", source, tmp_path / "clean.jsonl")
    said, remarks = run("clean-answers", source, tmp_path / "clean.jsonl", "--skip-bad")
    assert "1 pair" in said
    assert "line 2 has no question" in remarks
    with pytest.raises(InputError, match=r"is to be written as \.jsonl"):
        run("clean-answers", source, tmp_path / "clean.txt")
