"""Loop: the steps of a training, with checkpoints from which it goes on exactly.

What a step does is decided by the plan, the config's seed and the state that a checkpoint keeps:
weights, the optimizer's moments, and the random numbers of dropout. So a training that was stopped
at any step and resumed ends, on a CPU, in the same weights as one that was not. (Some operators on
a GPU add in no fixed order.) Accelerate sees to devices, several processes and the files of a
checkpoint; started by `accelerate launch`, each process takes its share of every step's batches.

    loss.jsonl                   a line a step: loss, its parts, rate, norm of the gradient, seconds
    checkpoints/step-000500/     what accelerate saves, and progress.json
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from torch.utils.data import DataLoader, Dataset

from inbedder_retrieval.errors import InputError, MissingExtraError, ModelError
from inbedder_retrieval.training.config import TrainConfig
from inbedder_retrieval.training.plan import Batch, Plan

try:
    from accelerate import Accelerator
except ImportError as error:
    raise MissingExtraError("training", "train") from error

__all__ = ["CURVE_FILE", "Progress", "Rows", "Training", "latest_checkpoint", "measure", "rate_at"]

CURVE_FILE = "loss.jsonl"
CHECKPOINTS = "checkpoints"
PROGRESS_FILE = "progress.json"
Tensors: TypeAlias = dict[str, torch.Tensor]
Prepare: TypeAlias = Callable[[Tensors], Tensors]
# Steps done, steps in all, the loss.
Progress: TypeAlias = Callable[[int, int, float], None]


class Rows(Protocol):
    """Tokenized rows that batches are packed of."""

    def pack(self, batch: Batch, seed: int = 0) -> Tensors: ...

    def items(self, batch: Batch) -> int: ...


@dataclass
class Training:
    """Everything the steps need.

    Attributes:
        prepare: adds to a batch on its device what the student needs beside it.
        identity: what has to be the same when a training is resumed, by name.
        before: kept in every checkpoint, and handed back when one is resumed.
    """

    student: torch.nn.Module
    rows: Rows
    plan: Plan
    config: TrainConfig
    folder: Path
    accelerator: Accelerator
    prepare: Prepare
    identity: Mapping[str, str]
    before: Mapping[str, float]

    def run(
        self, *, resume: bool, stop_after: int | None = None, progress: Progress | None = None
    ) -> int:
        """Do the steps that are left, and return how many are done.

        Args:
            resume: go on from the last checkpoint, where there is one.
            stop_after: stop after so many steps, counted from the first, with a checkpoint.

        Raises:
            InputError: what would be resumed is another training.
            ModelError: the loss is no number any more.
        """
        accelerator, config = self.accelerator, self.config
        student, optimizer = accelerator.prepare(self.student, _optimizer(self.student, config))
        done = 0
        found = latest_checkpoint(self.folder) if resume else None
        if found is not None:
            done, self.before = self._resumed(found)
            accelerator.load_state(str(found))
        last = self.plan.steps if stop_after is None else min(stop_after, self.plan.steps)
        curve = self.folder / CURVE_FILE
        if accelerator.is_main_process:
            seconds = _cut_curve(curve, done)
        start = time.perf_counter()
        student.train()
        batches = iter(self._batches(done, last))
        for step in range(done, last):
            shown = self._step(step, student, optimizer, batches)
            done = step + 1
            if not math.isfinite(shown["loss"]):
                raise ModelError(
                    f"the loss of step {done} is {shown['loss']}; lower the learning rate. The "
                    f"last checkpoint in {self.folder / CHECKPOINTS} is from before"
                )
            if accelerator.is_main_process:
                shown["seconds"] = round(seconds + time.perf_counter() - start, 3)
                with curve.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"step": done, **shown}) + "\n")
                if progress is not None:
                    progress(done, self.plan.steps, shown["loss"])
            if done % config.save_every == 0 or done == last:
                self._save(done)
        return done

    def _step(
        self, step: int, student: torch.nn.Module, optimizer: Any, batches: Iterator[Tensors]
    ) -> dict[str, float]:
        accelerator, config = self.accelerator, self.config
        rate = rate_at(step, self.plan.steps, config.learning_rate, config.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        own, every = self._shares(step)
        sums: Tensors = {}
        for number, items in enumerate(own):
            batch = {name: one.to(accelerator.device) for name, one in next(batches).items()}
            last = number == len(own) - 1
            with self._autocast():
                batch = self.prepare(batch)
                if last:
                    parts = student(**batch)
                else:
                    with accelerator.no_sync(student):
                        parts = student(**batch)
            # Gradients of several processes are averaged; each item is to count the same.
            share = items * accelerator.num_processes / every
            if last:
                accelerator.backward(parts["loss"] * share)
            else:
                with accelerator.no_sync(student):
                    accelerator.backward(parts["loss"] * share)
            for name, part in parts.items():
                sums[name] = sums.get(name, torch.zeros_like(part)) + part.detach() * share
        norm = accelerator.clip_grad_norm_(student.parameters(), config.clip)
        optimizer.step()
        reduced: Any = accelerator.reduce(sums, "mean")
        shown = {name: round(float(part), 6) for name, part in reduced.items()}
        return {**shown, "rate": rate, "norm": round(float(norm), 4)}

    def _shares(self, step: int) -> tuple[list[int], int]:
        """Return the items in each of this process's batches of a step, and those in all."""
        first = step * self.plan.per_step
        every = [
            self.rows.items(batch)
            for batch in self.plan.batches[first : first + self.plan.per_step]
        ]
        count = self.accelerator.num_processes
        return every[self.accelerator.process_index :: count], sum(every)

    def _batches(self, done: int, last: int) -> DataLoader[Tensors]:
        size, count = self.plan.per_step, self.accelerator.num_processes
        batches = self.plan.batches[
            done * size + self.accelerator.process_index : last * size : count
        ]
        return DataLoader(
            _Packed(self.rows, batches, self.config.seed),
            batch_size=None,
            num_workers=self.config.workers,
            # Its own: a loader draws from torch's otherwise, and dropout would be another.
            generator=torch.Generator(),
        )

    def _autocast(self) -> torch.autocast:
        device = self.accelerator.device.type
        wanted = self.config.precision == "bfloat16"
        return torch.autocast(device, dtype=torch.bfloat16, enabled=wanted)

    def _save(self, done: int) -> None:
        """Write a checkpoint, whole or not at all, and remove those that are old."""
        folder = self.folder / CHECKPOINTS
        target, scratch = folder / f"step-{done:06d}", folder / "unfinished"
        accelerator = self.accelerator
        if accelerator.is_main_process and scratch.exists():
            shutil.rmtree(scratch)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(scratch))
        accelerator.wait_for_everyone()
        if not accelerator.is_main_process:
            return
        about = {"step": done, **self.identity, "before": dict(self.before)}
        (scratch / PROGRESS_FILE).write_text(json.dumps(about, indent=2) + "\n", "utf-8")
        if target.exists():
            shutil.rmtree(target)
        os.replace(scratch, target)
        for old in sorted(folder.glob("step-*"))[: -self.config.keep]:
            shutil.rmtree(old)

    def _resumed(self, checkpoint: Path) -> tuple[int, Mapping[str, float]]:
        """Read how far a checkpoint is, and refuse one of another training."""
        about = json.loads((checkpoint / PROGRESS_FILE).read_bytes())
        for name, value in self.identity.items():
            if about.get(name) != value:
                raise InputError(
                    f"{checkpoint} was trained with another {name}; go on with the same one, or "
                    "train into a new folder"
                )
        return int(about["step"]), about["before"]


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the folder of a training's last checkpoint, or None."""
    found = sorted((folder / CHECKPOINTS).glob("step-*"))
    return found[-1] if found else None


def rate_at(step: int, steps: int, peak: float, warmup: float) -> float:
    """Return the learning rate of a step, counted from zero: up to the peak, then along a cosine.

    It ends at zero, a step after the last.
    """
    rising = math.ceil(steps * warmup)
    if step < rising:
        return peak * (step + 1) / (rising + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


@torch.no_grad()
def measure(
    student: torch.nn.Module,
    rows: Rows,
    batches: Sequence[Batch],
    prepare: Prepare,
    device: torch.device,
) -> dict[str, float]:
    """Return the loss and its parts over batches, without dropout, each item counted the same."""
    trained = student.training
    student.eval()
    sums: dict[str, float] = {}
    items = [rows.items(batch) for batch in batches]
    for batch, count in zip(batches, items, strict=True):
        packed = {name: one.to(device) for name, one in rows.pack(batch).items()}
        for name, part in student(**prepare(packed)).items():
            sums[name] = sums.get(name, 0.0) + float(part) * count
    student.train(trained)
    return {name: value / sum(items) for name, value in sums.items()}


class _Packed(Dataset[Tensors]):
    """Batches, packed when they are asked for."""

    def __init__(self, rows: Rows, batches: Sequence[Batch], seed: int) -> None:
        self._rows, self._batches, self._seed = rows, batches, seed

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> Tensors:
        return self._rows.pack(self._batches[number], self._seed)


def _optimizer(student: torch.nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Make AdamW; gains and biases do not decay, as in transformers' Trainer."""
    trained = [one for one in student.parameters() if one.requires_grad]
    groups = [
        {"params": [one for one in trained if one.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [one for one in trained if one.dim() <= 1], "weight_decay": 0.0},
    ]
    # One pass over the weights for each step; elsewhere it is not to be had.
    fused = all(one.device.type in ("cpu", "cuda") for one in trained)
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], config.learning_rate, fused=fused
    )


def _cut_curve(curve: Path, done: int) -> float:
    """Keep the lines of the steps that are done, and return how long those took."""
    lines = curve.read_text("utf-8").splitlines(keepends=True) if curve.is_file() else []
    kept = lines[:done]
    curve.write_text("".join(kept), encoding="utf-8")
    return float(json.loads(kept[-1])["seconds"]) if kept else 0.0
