"""Plan: which rows make which batch, in which order, for a whole training.

A plan is made before the first step, from the rows' sizes and a seed alone; so a training that was
interrupted goes on with the very batches it would have had. An epoch's rows are shuffled and taken
in large runs; within one, rows of like shape are put together, as many as the token budget holds
with padding; then the batches are shuffled.

`packing.Packer.plan` does the like for embedding, where all rows end in the same questions; here
every text has its own, so a row has three sizes: its text, how many questions, the longest of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.errors import InputError

__all__ = ["Batch", "Plan", "cut_batches", "make_plan"]

# Rows that are looked at together. On the packaged model's data 83 % of a batch is tokens where
# they are a whole epoch of 200,000, and 61 % in runs of 16,384.
RUN = 262_144
# Lengths are told apart in steps of so many tokens, so that chance decides among like ones.
STEP = 4
# Epochs that may by chance show nothing.
MOST_EMPTY = 100


@dataclass(frozen=True)
class Batch:
    """Rows that are packed together, each with a number that seeds its own choices."""

    rows: tuple[int, ...]
    epoch: int


@dataclass(frozen=True)
class Plan:
    """The batches of a training.

    Attributes:
        per_step: how many of them make a step, over all devices.
        epochs: how often each row is shown, as often as an epoch shows it.
    """

    batches: tuple[Batch, ...]
    per_step: int
    epochs: float

    @property
    def steps(self) -> int:
        return len(self.batches) // self.per_step


def make_plan(
    sizes: NDArray[np.int64],
    repeats: Sequence[float],
    *,
    token_budget: int,
    most_rows: int | None,
    per_step: int,
    seed: int,
    epochs: float,
    steps: int | None,
) -> Plan:
    """Plan a training.

    Args:
        sizes: (N, 3) of every row: its tokens before the questions, how many questions, and the
            tokens of the longest.
        repeats: how often an epoch shows each row; of a part of a time, chance decides anew in
            every epoch.
        epochs: how many epochs, where `steps` is None; the last may be a part.

    Raises:
        InputError: there is no row, or too few for one step.
    """
    if not len(sizes):
        raise InputError(
            "there is nothing to train on: no row has a text, a question and an answer"
        )
    wholes, parts = np.divmod(np.asarray(repeats, dtype=np.float64), 1.0)
    found: list[Batch] = []
    epoch = 0
    wanted = None if steps is None else steps * per_step
    while wanted is None or len(found) < wanted:
        random = np.random.default_rng([seed, epoch])
        times = wholes.astype(np.int64) + (random.random(len(sizes)) < parts if parts.any() else 0)
        shown = np.repeat(np.arange(len(sizes)), times)
        made = _epoch(sizes, shown, token_budget, most_rows, random)
        if not made and wanted is not None and epoch > MOST_EMPTY:
            raise InputError("no row is shown in an epoch; raise 'repeat' in the config's data")
        if wanted is None:
            made = made[: round(len(made) * min(epochs - epoch, 1.0))]
        found += [Batch(tuple(rows.tolist()), epoch) for rows in made]
        epoch += 1
        if wanted is None and epoch >= epochs:
            break
    # A step is whole: what is left over is begun again in no other.
    whole = (len(found) if wanted is None else wanted) // per_step * per_step
    if not whole:
        raise InputError(
            f"{len(sizes)} rows make {len(found)} batches, and a step takes {per_step}; give more "
            "rows, a smaller token budget, or less accumulation"
        )
    batches = found[:whole]
    return Plan(tuple(batches), per_step, sum(len(batch.rows) for batch in batches) / sum(repeats))


def cut_batches(
    sizes: NDArray[np.int64], order: NDArray[np.int64], token_budget: int, most_rows: int | None
) -> Iterator[NDArray[np.int64]]:
    """Cut rows, in order, into batches that hold no more than the budget with their padding.

    A row that is longer than the budget makes a batch by itself.
    """
    start, largest = 0, np.zeros(3, dtype=np.int64)
    for place, row in enumerate(order):
        grown = np.maximum(largest, sizes[row])
        count = place + 1 - start
        tokens = count * (grown[0] + grown[1] * grown[2])
        if count > 1 and (tokens > token_budget or (most_rows is not None and count > most_rows)):
            yield order[start:place]
            start, grown = place, sizes[row]
        largest = grown
    if start < len(order):
        yield order[start:]


def _epoch(
    sizes: NDArray[np.int64],
    shown: NDArray[np.int64],
    token_budget: int,
    most_rows: int | None,
    random: np.random.Generator,
) -> list[NDArray[np.int64]]:
    shuffled = random.permutation(shown)
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(shuffled), RUN):
        run = shuffled[start : start + RUN]
        text, count, width = (-(-sizes[run] // [STEP, 1, STEP])).T
        # The last key counts first: questions, then their length, then the text's.
        order = run[np.lexsort((text, width, count))]
        batches += cut_batches(sizes, order, token_budget, most_rows)
    return [batches[k] for k in random.permutation(len(batches))]
