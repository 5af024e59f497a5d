"""Whole trainings of tiny models: they learn, they resume exactly, and what they write loads."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from inbedder_retrieval import (
    CheckpointError,
    Embedder,
    InputError,
    MissingExtraError,
    ModelError,
    Recipe,
    SourceError,
)
from inbedder_retrieval.training.config import TrainConfig
from inbedder_retrieval.training.data import read_data
from inbedder_retrieval.training.loop import CHECKPOINTS, Training
from inbedder_retrieval.training.report import TrainReport
from inbedder_retrieval.training.train import train
from tests.architectures import plain_vectors as plain_prompted
from tests.conftest import write_jsonl
from tests.reference import plain_vectors, unit
from tests.training.rows import FEEL, NEED, config_of, write_examples

KINDS = ("prefix", "joint", "causal", "lora")
LORA: dict[str, Any] = {"rank": 4, "alpha": 8.0, "dropout": 0.1, "targets": ["q_proj", "v_proj"]}
CHANGES: dict[str, dict[str, Any]] = {
    # Dropout on: what it draws must be restored too.
    "prefix": {"dropout": 0.1, "accumulation": 2},
    "joint": {"dropout": 0.1, "rows": 8},
    "causal": {"precision": "bfloat16"},
    "lora": {"lora": LORA, "learning_rate": 2e-2},
}
Configured = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_examples(tmp_path_factory.mktemp("data") / "rows.jsonl")


@pytest.fixture(scope="module")
def configured(tiny_folder: Path, folders: dict[str, Path]) -> Configured:
    bases = {
        "prefix": tiny_folder,
        "joint": folders["roberta"],
        "causal": folders["llama"],
        "lora": folders["llama"],
    }

    def make(kind: str, **changes: Any) -> TrainConfig:
        name = "causal" if kind == "lora" else kind
        return config_of(bases[kind], name, **(CHANGES[kind] | changes))

    return make


@pytest.fixture(scope="module", params=KINDS)
def trained(
    request: pytest.FixtureRequest,
    data: Path,
    configured: Configured,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path, TrainReport]:
    """A training of each kind, without a stop."""
    folder = tmp_path_factory.mktemp("trained") / request.param
    return request.param, folder, train(configured(request.param), [data], folder)


def curve(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "loss.jsonl").read_text().splitlines()]


def test_the_loss_falls(
    data: Path, configured: Configured, tmp_path: Path, trained: tuple[str, Path, TrainReport]
) -> None:
    kind, _, _ = trained
    report = train(configured(kind, steps=30, export=False), [data], tmp_path / "out")
    assert report.first is not None
    assert report.last is not None
    assert report.last < 0.9 * report.first
    assert report.after["loss"] < report.before["loss"]


def test_a_training_that_was_stopped_and_resumed_ends_in_the_same_weights(
    data: Path,
    configured: Configured,
    tmp_path: Path,
    trained: tuple[str, Path, TrainReport],
) -> None:
    kind, folder, whole = trained
    out = tmp_path / kind
    for stop in (1, 2, 5):
        report = train(configured(kind, export=False), [data], out, resume=True, stop_after=stop)
        assert (report.steps, report.finished) == (stop, False)
        # What happens elsewhere meanwhile must not matter.
        torch.manual_seed(99)
        torch.rand(7)
    report = train(configured(kind, export=False), [data], out, resume=True)
    first, second = (load_file(one / "model.safetensors") for one in (folder, out))
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)
    keys = curve(folder)[0].keys() - {"seconds"}
    assert [{k: one[k] for k in keys} for one in curve(folder)] == [
        {k: one[k] for k in keys} for one in curve(out)
    ]
    assert (report.before, report.after) == (whole.before, whole.after)


def test_a_training_that_died_between_checkpoints_ends_in_the_same_weights(
    data: Path, configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured("prefix", save_every=2, export=False)
    train(config, [data], tmp_path / "whole")
    step = Training._step

    def dying(self: Training, number: int, *rest: Any) -> dict[str, float]:
        if number == 5:
            raise KeyboardInterrupt
        return step(self, number, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(Training, "_step", dying)
        with pytest.raises(KeyboardInterrupt):
            train(config, [data], tmp_path / "died")
    left = sorted(path.name for path in (tmp_path / "died" / CHECKPOINTS).iterdir())
    assert left == ["step-000002", "step-000004"]
    assert len(curve(tmp_path / "died")) == 5
    train(config, [data], tmp_path / "died", resume=True)
    first, second = (load_file(tmp_path / one / "model.safetensors") for one in ("whole", "died"))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)
    assert [one["step"] for one in curve(tmp_path / "died")] == [1, 2, 3, 4, 5, 6]


def test_what_is_written_loads_and_gives_transformers_vectors(
    trained: tuple[str, Path, TrainReport], configured: Configured
) -> None:
    kind, folder, _ = trained
    embedder = Embedder(folder, backend="torch")
    texts = ["the phone, love it, thank you", "the lamp broke", ""]
    assert embedder.name == str(folder.resolve())
    assert embedder.recipe.name == folder.name
    if kind == "prefix":
        views = {"general": None, "feel": FEEL, "need": NEED}
        found, plain = embedder.embed(texts, views), plain_vectors(folder, texts, views, most=40)
        for name in views:
            np.testing.assert_allclose(found[name], unit(plain[name]), atol=1e-5)
    else:
        name = "roberta" if kind == "joint" else "llama"
        found = embedder.embed(texts, {"feel": FEEL})
        plain_ones = plain_prompted(name, folder, embedder.recipe, texts, FEEL)
        np.testing.assert_allclose(found["feel"], plain_ones, atol=1e-5)


def test_a_model_may_learn_to_read_the_text_late(
    data: Path, configured: Configured, tmp_path: Path
) -> None:
    """What the config changes in the recipe is written, exported and said in the card."""
    early = {"question_start": 41, "reads_from": 1}
    train(configured("prefix", recipe=early), [data], tmp_path / "late")
    texts, views = ["the phone, love it", "", "the lamp broke"], {"general": None, "need": NEED}
    plain = plain_vectors(tmp_path / "late", texts, views, most=40, start=41, reads_from=1)
    exact = Embedder(tmp_path / "late", backend="torch").embed(texts, views)
    rounded = Embedder(tmp_path / "late", backend="onnx").embed(texts, views)
    for name in views:
        np.testing.assert_allclose(exact[name], unit(plain[name]), rtol=0, atol=1e-5)
        assert (rounded[name] * exact[name]).sum(axis=1).min() >= 0.9
    assert "see the text from layer 1 on" in (tmp_path / "late" / "README.md").read_text()


def test_the_weights_have_moved_and_the_configuration_is_the_bases(
    trained: tuple[str, Path, TrainReport], configured: Configured
) -> None:
    kind, folder, _ = trained
    base = Path(configured(kind).base)
    before, after = (load_file(one / "model.safetensors") for one in (base, folder))
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    if kind == "lora":
        assert {name.split(".")[-2] for name in moved} == {"q_proj", "v_proj"}
    else:
        assert len(moved) > len(before) / 2
    first, second = (json.loads((one / "config.json").read_text()) for one in (base, folder))
    assert {key for key in first if first[key] != second.get(key)} <= {"dtype", "architectures"}


def test_the_report_and_the_card_say_what_was_done(
    trained: tuple[str, Path, TrainReport],
) -> None:
    kind, folder, report = trained
    assert (report.steps, report.planned, report.finished) == (6, 6, True)
    assert (report.texts, report.held_out, report.texts + report.held_out) == (25, 2, 27)
    assert report == TrainReport.model_validate_json((folder / "training.json").read_bytes())
    lines = curve(folder)
    assert [one["step"] for one in lines] == [1, 2, 3, 4, 5, 6]
    assert report.first == lines[0]["loss"]
    assert report.last == lines[-1]["loss"]
    card = (folder / "README.md").read_text()
    assert f"# {folder.name}" in card
    assert f"{report.first:.3f} on average" in card
    assert f"| loss | {report.before['loss']:.3f} | {report.after['loss']:.3f} |" in card
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    if kind == "prefix":
        assert report.export is not None
        said = "There is no `model.onnx`" if report.export.refused else "`model.onnx`: float32"
        assert said in card
        assert (folder / "model.onnx").is_file() == (report.export.refused is None)


def test_a_prefix_model_is_exported_and_its_int8_vectors_are_its_own(
    trained: tuple[str, Path, TrainReport],
) -> None:
    kind, folder, report = trained
    if kind != "prefix":
        assert report.export is None
        return
    assert report.export is not None
    assert report.export.refused is None
    assert report.export.difference is not None
    assert report.export.difference <= 1e-4
    assert Recipe.load(folder).answer_norm is not None
    texts = ["the phone, love it, thank you", "the lamp, it broke, send a new one"]
    small = Embedder(folder).embed(texts, {"need": NEED})["need"]
    exact = Embedder(folder, backend="torch").embed(texts, {"need": NEED})["need"]
    assert ((small * exact).sum(1) > 0.95).all()


def test_accumulated_batches_move_the_weights_as_one_large_batch(
    data: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Each label counts the same, however its row is packed."""
    found = []
    for name, rows, accumulation in (("one", 27, 1), ("many", 9, 3)):
        config = config_of(
            folders["roberta"],
            "joint",
            rows=rows,
            accumulation=accumulation,
            steps=1,
            epochs=1,
            dropout=0.0,
            held_out=0,
            token_budget=100_000,
        )
        single = tmp_path / "single.jsonl"
        lines = [json.loads(line) for line in data.read_text().splitlines()]
        write_jsonl(single, [{**line, "qa": line["qa"][:1]} for line in lines])
        train(config, [single], tmp_path / name)
        found.append(load_file(tmp_path / name / "model.safetensors"))
        assert curve(tmp_path / name)[0]["step"] == 1
    assert curve(tmp_path / "one")[0]["loss"] == pytest.approx(
        curve(tmp_path / "many")[0]["loss"], rel=1e-5
    )
    assert curve(tmp_path / "one")[0]["norm"] == pytest.approx(
        curve(tmp_path / "many")[0]["norm"], rel=1e-3
    )


def test_bfloat16_trains_a_prefix_model(data: Path, configured: Configured, tmp_path: Path) -> None:
    config = configured("prefix", precision="bfloat16", steps=30, save_as="float16", export=False)
    report = train(config, [data], tmp_path / "out")
    assert report.after["loss"] < 0.9 * report.before["loss"]
    assert load_file(tmp_path / "out" / "model.safetensors")[
        "cls.predictions.bias"
    ].dtype == np.dtype("float16")


def test_workers_pack_the_same_batches(data: Path, configured: Configured, tmp_path: Path) -> None:
    for workers in (0, 1):
        train(configured("prefix", workers=workers), [data], tmp_path / str(workers), stop_after=2)
    first, second = (curve(tmp_path / str(workers)) for workers in (0, 1))
    assert [one["loss"] for one in first] == [one["loss"] for one in second]


def test_a_dry_run_counts_and_writes_nothing(
    data: Path, configured: Configured, tmp_path: Path
) -> None:
    report = train(configured("prefix"), [data], tmp_path / "out", dry_run=True)
    assert (report.texts, report.pairs, report.held_out, report.planned) == (25, 58, 2, 6)
    assert not (tmp_path / "out").exists()


def test_texts_of_an_evaluation_set_are_left_out_and_named(
    data: Path, configured: Configured, tmp_path: Path
) -> None:
    rows: list[dict[str, object]] = [{"text": "The LAMP: love it, thank you!"}]
    evaluation = write_jsonl(tmp_path / "eval.jsonl", rows)
    report = train(
        configured("prefix"), [data], tmp_path / "out", against=[evaluation], dry_run=True
    )
    [named] = report.contaminated
    assert named.endswith(f"is {evaluation}, line 1")
    assert report.files[0].contaminated == 1
    assert report.texts + report.held_out == 26


def test_broken_rows_are_refused_or_counted(
    data: Path, configured: Configured, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text(data.read_text() + '{"text": "a"}\n')
    with pytest.raises(SourceError, match=r"line 28 has no question.*1 of 28 rows"):
        train(configured("prefix"), [broken], tmp_path / "out")
    report = train(configured("prefix"), [broken], tmp_path / "out", skip_bad=True, dry_run=True)
    assert (len(report.bad), report.files[0].bad, report.files[0].rows) == (1, 1, 28)


def test_a_config_names_files_below_a_folder_and_how_often_they_are_shown(
    data: Path, configured: Configured, tmp_path: Path
) -> None:
    shutil.copy(data, tmp_path / "views-1.jsonl")
    other = write_jsonl(
        tmp_path / "qa.jsonl", [{"i": f"the chair {k}", "q": "what?", "a": "chair"} for k in "abcd"]
    )
    given = [{"files": "views-*.jsonl", "repeat": 3, "about": "ours"}, {"files": "qa.jsonl"}]
    config = configured("prefix", data=given, steps=None, epochs=1, held_out=0, accumulation=1)
    report = train(config, [tmp_path], tmp_path / "out", dry_run=True)
    assert [(one.file, one.repeat, one.about) for one in report.files] == [
        ("views-1.jsonl", 3, "ours"),
        ("qa.jsonl", 1, ""),
    ]
    assert report.epochs == 1.0
    other.unlink()
    with pytest.raises(SourceError, match=r"the config asks for qa\.jsonl"):
        train(config, [tmp_path], tmp_path / "out", dry_run=True)


def test_texts_of_a_source_are_shown_as_often_as_the_config_says(
    configured: Configured, tmp_path: Path
) -> None:
    rows: list[dict[str, object]] = [
        {"i": f"the chair {k} {j}", "q": "what?", "a": "chair", "s": k} for k in "abc" for j in "xy"
    ]
    write_jsonl(tmp_path / "qa.jsonl", rows)
    given = [{"files": "qa.jsonl", "repeat": 2, "repeat_of": {"a": 3, "c": 0}}]
    config = configured("prefix", data=given, steps=None, epochs=1, held_out=0, accumulation=1)
    report = train(config, [tmp_path], tmp_path / "out", dry_run=True)
    assert report.files[0].repeat == pytest.approx(10 / 6, abs=1e-4)
    assert read_data(config, [tmp_path]).repeats == [3.0, 3.0, 2.0, 2.0, 0.0, 0.0]


def test_texts_of_the_package_need_no_folder_of_their_own(
    data: Path, configured: Configured, tmp_path: Path
) -> None:
    given = [{"files": "rows.jsonl"}, {"files": "packaged:written-*.jsonl.gz", "repeat": 2}]
    read = read_data(configured("prefix", data=given), [data.parent])
    assert [one.file for one in read.files[:2]] == ["rows.jsonl", "written-customers.jsonl.gz"]
    assert len(read.files) == 13
    assert {one.bad for one in read.files} == {0}
    assert all(one.pairs >= 9 * one.texts for one in read.files[1:])
    missing = configured("prefix", data=[{"files": "packaged:nothing.jsonl"}])
    with pytest.raises(SourceError, match=r"the config asks for nothing\.jsonl"):
        read_data(missing, [data.parent])


def test_a_teacher_is_another_model_than_the_base(
    data: Path, configured: Configured, folders: dict[str, Path], tmp_path: Path
) -> None:
    config = configured("prefix", held_out=0, export=False)
    base = Path(config.base)
    other = shutil.copytree(base, tmp_path / "other")
    torch.manual_seed(5)
    weights = {
        name: torch.from_numpy(values) + 0.05 * torch.randn(values.shape)
        for name, values in load_file(base / "model.safetensors").items()
    }
    save_file(weights, other / "model.safetensors")
    taught = config.model_copy(update={"teacher": str(other)})
    for name, chosen in (("own", config), ("taught", taught)):
        train(chosen, [data], tmp_path / name, stop_after=1)
    own, found = (curve(tmp_path / name)[0] for name in ("own", "taught"))
    assert own["words"] == found["words"]
    assert own["distillation"] < found["distillation"]
    stranger = config.model_copy(update={"teacher": str(folders["bert"])})
    with pytest.raises(InputError, match="has other word pieces"):
        train(stranger, [data], tmp_path / "stranger", stop_after=1)


def test_a_config_that_begins_from_anothers_trains_that_first(
    data: Path, configured: Configured, tmp_path: Path
) -> None:
    first = configured("prefix", export=False, name="one")
    first.save(tmp_path / "one.toml")
    own = configured("prefix", export=False)
    config = own.model_copy(update={"base": f"config:{tmp_path / 'one.toml'}"})
    out = tmp_path / "out"
    planned = train(config, [data], out, dry_run=True)
    assert (planned.name, planned.finished, out.exists()) == ("one", False, False)
    stopped = train(config, [data], out, stop_after=4)
    assert (stopped.name, stopped.steps, stopped.finished) == ("one", 4, False)
    report = train(config, [data], out, resume=True)
    assert (report.name, report.steps, report.finished) == ("out", 6, True)
    train(first, [data], tmp_path / "alone")
    one, other = (
        load_file(folder / "model.safetensors") for folder in (out / "first", tmp_path / "alone")
    )
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)
    again = own.model_copy(update={"base": str(out / "first")})
    train(again, [data], tmp_path / "again")
    assert [one["loss"] for one in curve(out)] == [one["loss"] for one in curve(tmp_path / "again")]


def test_trainings_follow_each_other_as_those_of_the_packaged_model_do(
    data: Path, configured: Configured, tmp_path: Path
) -> None:
    """One after another, one beside another, and at last the mean of before and after."""
    own = configured("prefix", export=False, steps=2)

    def saved(name: str, **changes: Any) -> str:
        own.model_copy(update={"name": name, **changes}).save(tmp_path / f"{name}.toml")
        return f"config:{tmp_path / name}.toml"

    first = saved("one")
    beside = saved("beside", base=first, learning_rate=1e-3).removeprefix("config:")
    second = saved("two", base=first, average=(beside,))
    early = {"question_start": 41, "reads_from": 1}
    last = own.model_copy(update={"base": second, "average": ("base",), "recipe": early})
    train(last, [data], tmp_path / "out")
    out = tmp_path / "out"
    for part in ("first", "first/first"):
        assert (out / part / "model.safetensors").is_file()
    assert (out / "first" / "average-1" / "model.safetensors").is_file()
    assert not list(out.glob("average-*"))
    alone = last.model_copy(update={"base": str(out / "first"), "average": ()})
    train(alone, [data], tmp_path / "alone")
    before, after, found = (
        load_file(folder / "model.safetensors")
        for folder in (out / "first", tmp_path / "alone", out)
    )
    for name, values in found.items():
        mean = (before[name] + after[name]) / 2
        np.testing.assert_allclose(values, mean, atol=1e-6, err_msg=name)
    assert Embedder(out, backend="torch").recipe.reads_from == 1
    assert Embedder(out / "first", backend="torch").recipe.reads_from == 0


def test_weights_are_averaged_with_the_bases_and_those_of_other_trainings_from_it(
    data: Path, configured: Configured, tmp_path: Path
) -> None:
    own = configured("prefix", export=False)
    names = []
    for number, rate in enumerate((1e-3, 2e-3)):
        other = own.model_copy(update={"learning_rate": rate, "base": "none", "seed": number})
        other.save(tmp_path / f"{number}.toml")
        names.append(str(tmp_path / f"{number}.toml"))
    config = own.model_copy(update={"average": (*names, "base")})
    stopped = train(config, [data], tmp_path / "out", stop_after=3)
    assert (stopped.steps, stopped.finished) == (3, False)
    report = train(config, [data], tmp_path / "out", resume=True)
    assert report.finished
    train(own, [data], tmp_path / "alone")
    places = [tmp_path / "alone", tmp_path / "out" / "average-1", tmp_path / "out" / "average-2"]
    every = [load_file(folder / "model.safetensors") for folder in [*places, Path(own.base)]]
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert not np.array_equal(every[1]["cls.predictions.bias"], every[2]["cls.predictions.bias"])
    for name, values in found.items():
        mean = np.mean([weights[name] for weights in every], axis=0)
        np.testing.assert_allclose(values, mean, atol=1e-6, err_msg=name)


def test_a_base_without_a_head_is_not_averaged_with(
    data: Path, configured: Configured, tmp_path: Path
) -> None:
    own = configured("prefix", export=False)
    bare = shutil.copytree(own.base, tmp_path / "bare")
    weights = load_file(bare / "model.safetensors")
    kept = {name: torch.from_numpy(one) for name, one in weights.items() if "cls." not in name}
    save_file(kept, bare / "model.safetensors")
    config = own.model_copy(update={"base": str(bare), "average": ("base",)})
    with pytest.raises(CheckpointError, match=r"cls\.predictions.*made up at random"):
        train(config, [data], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    train(config.model_copy(update={"average": ()}), [data], tmp_path / "out", stop_after=1)


def test_a_folder_that_holds_something_is_left_alone(
    data: Path, configured: Configured, tmp_path: Path
) -> None:
    config = configured("prefix")
    (tmp_path / "note.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(InputError, match=r"holds note\.txt, which is no training"):
            train(config, [data], tmp_path, resume=resume)
    train(config, [data], tmp_path / "out", stop_after=1)
    with pytest.raises(InputError, match="holds a training; go on with it"):
        train(config, [data], tmp_path / "out")
    with pytest.raises(InputError, match="is a file"):
        train(config, [data], data)


@pytest.mark.parametrize(("changes", "name"), [({"seed": 5}, "config"), ({}, "data")])
def test_another_training_is_not_resumed(
    data: Path, configured: Configured, tmp_path: Path, changes: dict[str, Any], name: str
) -> None:
    train(configured("prefix"), [data], tmp_path / "out", stop_after=1)
    if not changes:
        data = write_jsonl(
            tmp_path / "rows.jsonl",
            [{"text": f"the {k} {j}", "q": "what?", "a": k} for k in "abcdef" for j in "uvwxyz"],
        )
    with pytest.raises(InputError, match=f"was trained with another {name}"):
        train(configured("prefix", **changes), [data], tmp_path / "out", resume=True)


def test_a_loss_that_is_no_number_stops_the_training(
    data: Path, configured: Configured, tmp_path: Path
) -> None:
    config = configured("causal", learning_rate=1e30, clip=1e30, precision="float32", warmup=0.0)
    with pytest.raises(ModelError, match=r"the loss of step .* lower the learning rate"):
        train(config, [data], tmp_path / "out")


def test_without_accelerate_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "inbedder_retrieval.training.loop")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'inbedder-retrieval\[train\]'"):
        importlib.import_module("inbedder_retrieval.training.loop")
