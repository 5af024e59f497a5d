"""Train: a base and files of questions and answers become a model that follows questions.

    report = train(TrainConfig.load("inbedder-minilm"), ["data"], "my-model")

The output folder loads in `Embedder` at once: weights, tokenizer, `inbedder.json`, for prefix
models `model.onnx` behind export's gate, and a card that says what was trained on and measured.
What the steps do is in `loop.py`, what a loss is in `losses.py`, what a row is in `prefix.py` and
`prompted.py`.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from inbedder_retrieval.backends.packed import check_layers
from inbedder_retrieval.errors import InputError, MissingExtraError
from inbedder_retrieval.training.base import Base, find_base, load_model
from inbedder_retrieval.training.config import Lora, TrainConfig
from inbedder_retrieval.training.data import Prepared, read_data
from inbedder_retrieval.training.finish import write_model
from inbedder_retrieval.training.loop import Prepare, Progress, Rows, Training, measure
from inbedder_retrieval.training.plan import Batch, Plan, cut_batches, make_plan
from inbedder_retrieval.training.prefix import PrefixRows, PrefixStudent
from inbedder_retrieval.training.prompted import PromptedRows, PromptedStudent
from inbedder_retrieval.training.report import REPORT_FILE, TrainReport
from inbedder_retrieval.training.teacher import Teacher

try:
    import torch
    from accelerate import Accelerator
except ImportError as error:
    raise MissingExtraError("training", "train") from error

__all__ = ["train"]

Teach: TypeAlias = Callable[[Rows, Sequence[Batch], str], Prepare]
# What a stopped training leaves in its folder.
OURS = ("training.toml", "loss.jsonl", "checkpoints", "first", "average-1")
# What a base begins with that another config makes, and where that is done.
CONFIG = "config:"
FIRST = "first"
AVERAGE = "average-"
# What stands for the base itself among those that are averaged.
BASE = "base"


def train(
    config: TrainConfig,
    data: Sequence[str | Path],
    out: str | Path,
    *,
    against: Sequence[str | Path] = (),
    skip_bad: bool = False,
    resume: bool = False,
    stop_after: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> TrainReport:
    """Train a model into a folder.

    Args:
        data: files and folders of examples (see `examples.py` for their forms).
        against: evaluation files; training texts that are in them are left out.
        skip_bad: go on without broken rows.
        resume: go on from the folder's last checkpoint, or begin where there is none.
        stop_after: stop after so many steps, counted from the first; `resume` goes on from there.
            The model is written when all are done.
        dry_run: read, count and plan, and write nothing. Where the base is another config's, the
            report is that of its training; so it is where that was stopped.
        progress: called after each step with the steps done, the steps in all, and the loss.

    Raises:
        SourceError: the data cannot be read.
        InputError: the folder holds something else, or another training.
        CheckpointError: the base cannot be trained as this kind.
        ModelError: the loss is no number any more.
        MissingExtraError: the packages of the extra `train` are not installed.
    """
    folder = Path(out)
    _check_folder(folder, resume)
    base_name = config.base
    before_it: list[tuple[TrainConfig, Path]] = []
    if base_name.startswith(CONFIG):
        first = TrainConfig.load(base_name.removeprefix(CONFIG), export=False)
        base_name = str(folder / FIRST)
        before_it.append((first, folder / FIRST))
    if not dry_run:
        named = [one for one in config.average if one != BASE]
        others = [TrainConfig.load(one, base=base_name, export=False) for one in named]
        places = [folder / f"{AVERAGE}{number}" for number in range(1, len(others) + 1)]
        before_it += zip(others, places, strict=True)
    for other, place in before_it:
        report = _trained_before(
            other,
            data,
            place,
            against=against,
            skip_bad=skip_bad,
            stop_after=stop_after,
            dry_run=dry_run,
            progress=progress,
        )
        if not report.finished:
            return report
    prepared = read_data(config, data, against=against, skip_bad=skip_bad)
    # The config says what a step runs in, and not how the processes were launched.
    accelerator = Accelerator(mixed_precision="no")
    name = config.name or folder.resolve().name
    base = find_base(config.model_copy(update={"base": base_name}), name)
    _seed(config.seed)
    # There would be no sense in the mean with a head that was made up.
    model = load_model(base, dropout=config.dropout, headless=BASE not in config.average)
    # Not after the last step, when what was trained is to be loaded.
    check_layers(model, base.recipe)
    rows = _rows(prepared.examples, base, config, model)
    held = _rows(prepared.held_out, base, config, model) if prepared.held_out else None
    repeats = np.array(prepared.repeats, dtype=np.float64)[rows.owners]
    plan = make_plan(
        rows.sizes,
        repeats.tolist(),
        token_budget=config.token_budget,
        most_rows=config.rows,
        per_step=config.accumulation * accelerator.num_processes,
        seed=config.seed,
        epochs=config.epochs,
        steps=config.steps,
    )
    report = TrainReport.begun(name, config, prepared, plan, rows.cut, rows.dropped)
    if dry_run:
        return report
    teach = _teaching(base, config, accelerator.device)
    student = _student(model, base, config).to(accelerator.device)
    fixed = _whole(held, config) if held is not None and len(held) else []
    before: dict[str, float] = {}
    if held is not None and fixed:
        complete = teach(held, fixed, "float32")
        before = measure(student, held, fixed, complete, accelerator.device)
    # No process may look at the folder after another has written to it.
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        config.save(folder / "training.toml")
    accelerator.wait_for_everyone()
    training = Training(
        student=student,
        rows=rows,
        plan=plan,
        config=config,
        folder=folder,
        accelerator=accelerator,
        prepare=teach(rows, plan.batches, config.precision),
        identity=_identity(config, prepared, plan),
        before=before,
    )
    done = training.run(resume=resume, stop_after=stop_after, progress=progress)
    trained = accelerator.unwrap_model(student).model
    if done == plan.steps:
        averaged = [str(place) for _, place in before_it if place.name != FIRST]
        averaged += [base_name] * config.average.count(BASE)
        _average(trained, averaged, config, name)
    after: dict[str, float] = {}
    if held is not None and fixed and done == plan.steps:
        after = measure(student, held, fixed, complete, accelerator.device)
    report = report.model_copy(
        update={
            "steps": done,
            "processes": accelerator.num_processes,
            "device": str(accelerator.device),
            "before": dict(training.before),
            "after": after,
        }
    )
    accelerator.wait_for_everyone()
    if done < plan.steps or not accelerator.is_main_process:
        return report
    if config.lora is not None:
        trained = trained.merge_and_unload()
    return write_model(folder, trained, base, config, prepared, report)


def _trained_before(
    config: TrainConfig, data: Sequence[str | Path], folder: Path, **how: Any
) -> TrainReport:
    """Train a model that another needs, or go on with it, unless it is there."""
    written = folder / REPORT_FILE
    if written.is_file():
        return TrainReport.model_validate_json(written.read_bytes())
    report = train(config, data, folder, resume=True, **how)
    # The others begin from what the first of the processes has written.
    accelerator = Accelerator(mixed_precision="no")
    accelerator.wait_for_everyone()
    if report.steps < report.planned or how["dry_run"]:
        return report
    return TrainReport.model_validate_json(written.read_bytes())


@torch.no_grad()
def _average(model: Any, others: Sequence[str], config: TrainConfig, name: str) -> None:
    """Make a model's weights the mean of its own and those of others."""
    for number, one in enumerate(others, 2):
        other = load_model(find_base(config.model_copy(update={"base": one}), name))
        for own, its in zip(model.parameters(), other.parameters(), strict=True):
            own.lerp_(its.to(own.device), 1 / number)


def _check_folder(folder: Path, resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder for the model")
    there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if not there:
        return
    if not any(name in there for name in OURS):
        raise InputError(f"{folder} holds {there[0]}, which is no training; give an empty folder")
    if not resume:
        raise InputError(
            f"{folder} holds a training; go on with it (--resume), or give an empty folder"
        )


def _rows(
    examples: Sequence[Any], base: Base, config: TrainConfig, model: Any
) -> PrefixRows | PromptedRows:
    if config.kind == "prefix":
        return PrefixRows(examples, base.tokenizer, base.recipe, config)
    closing = model.generation_config.eos_token_id if config.kind == "causal" else None
    closing = closing[0] if isinstance(closing, list) else closing
    return PromptedRows(examples, base.tokenizer, base.recipe, config, closing)


def _student(model: Any, base: Base, config: TrainConfig) -> torch.nn.Module:
    """Return what is trained."""
    if config.kind == "prefix":
        return PrefixStudent(model, base.recipe, config.losses)
    return PromptedStudent(_adapted(model, config.lora), base.recipe)


def _teaching(base: Base, config: TrainConfig, device: torch.device) -> Teach:
    """Return what makes, for rows and the batches of them, what completes a batch."""
    if config.kind != "prefix":
        return lambda rows, batches, precision: lambda batch: batch
    other = base
    if config.teacher is not None:
        other = find_base(config.model_copy(update={"base": config.teacher}), "teacher")
    found = load_model(other)
    sizes = [one.checkpoint.config.get("hidden_size") for one in (base, other)]
    if other.tokenizer.get_vocab() != base.tokenizer.get_vocab() or sizes[0] != sizes[1]:
        raise InputError(
            f"the teacher {config.teacher} has other word pieces than {config.base}, or vectors of "
            "another size; take a model of the same family"
        )
    return lambda rows, batches, precision: Teacher(
        found, base.recipe, cast("PrefixRows", rows), batches, device, precision
    )


def _adapted(model: Any, lora: Lora | None) -> Any:
    if lora is None:
        return model
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingExtraError("training with LoRA", "train") from error
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            # peft asks transformers for what has another name now.
            warnings.simplefilter("ignore", FutureWarning)
            return get_peft_model(model, settings)
    except ValueError as error:
        raise InputError(f"the config's lora: {error}") from error


def _whole(rows: PrefixRows | PromptedRows, config: TrainConfig) -> list[Batch]:
    """Return batches of all rows, in order of their size."""
    order = np.argsort(rows.sizes[:, 0] + rows.sizes[:, 1] * rows.sizes[:, 2], kind="stable")
    cut = cut_batches(rows.sizes, order, config.token_budget, config.rows)
    return [Batch(tuple(batch.tolist()), 0) for batch in cut]


def _identity(config: TrainConfig, prepared: Prepared, plan: Plan) -> dict[str, str]:
    return {
        "config": config.digest(),
        "data": prepared.digest(),
        "number of batches in a step": str(plan.per_step),
    }


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
