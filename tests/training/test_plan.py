from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inbedder_retrieval import InputError
from inbedder_retrieval.training.plan import Plan, make_plan

SIZES = st.lists(
    st.tuples(st.integers(1, 60), st.integers(0, 9), st.integers(0, 20)), min_size=1, max_size=60
)


def planned(
    sizes: NDArray[np.int64],
    *,
    repeats: list[float] | None = None,
    budget: int = 200,
    most_rows: int | None = None,
    per_step: int = 1,
    seed: int = 0,
    epochs: float = 1.0,
    steps: int | None = None,
) -> Plan:
    return make_plan(
        sizes,
        repeats or [1] * len(sizes),
        token_budget=budget,
        most_rows=most_rows,
        per_step=per_step,
        seed=seed,
        epochs=epochs,
        steps=steps,
    )


@settings(max_examples=50, deadline=None)
@given(SIZES, st.integers(20, 400), st.integers(1, 9), st.integers(1, 3))
def test_an_epoch_shows_every_row_as_often_as_asked_within_the_budget(
    rows: list[tuple[int, int, int]], budget: int, most: int, times: int
) -> None:
    sizes = np.array(rows, dtype=np.int64)
    repeats: list[float] = [1 + number % times for number in range(len(rows))]
    plan = planned(sizes, repeats=repeats, budget=budget, most_rows=most)
    shown = Counter(row for batch in plan.batches for row in batch.rows)
    assert shown == Counter(dict(enumerate(repeats)))
    assert plan.epochs == 1.0
    for batch in plan.batches:
        text, count, width = sizes[list(batch.rows)].max(axis=0)
        assert len(batch.rows) <= most
        assert len(batch.rows) * (text + count * width) <= budget or len(batch.rows) == 1


def test_rows_of_like_shape_are_put_together() -> None:
    random = np.random.default_rng(0)
    sizes = np.stack(
        [random.integers(5, 60, 4000), random.integers(1, 9, 4000), random.integers(4, 20, 4000)], 1
    )
    plan = planned(sizes, budget=4096)
    used = int((sizes[:, 0] + sizes[:, 1] * sizes[:, 2]).sum())
    packed = sum(
        len(batch.rows) * int(top[0] + top[1] * top[2])
        for batch in plan.batches
        for top in [sizes[list(batch.rows)].max(axis=0)]
    )
    assert used / packed > 0.75


def test_the_seed_and_the_epoch_decide_the_order() -> None:
    sizes = np.full((64, 3), 4, dtype=np.int64)
    same, other = planned(sizes, epochs=2), planned(sizes, epochs=2, seed=1)
    assert planned(sizes, epochs=2) == same
    assert other != same
    first, second = (
        [batch.rows for batch in same.batches if batch.epoch == epoch] for epoch in (0, 1)
    )
    assert first != second
    assert {row for rows in first for row in rows} == {row for rows in second for row in rows}


def test_steps_take_as_many_epochs_as_they_need_and_stay_whole() -> None:
    sizes = np.tile([10, 0, 0], (30, 1))
    plan = planned(sizes, budget=40, per_step=3, steps=7)
    assert (plan.steps, len(plan.batches), plan.batches[-1].epoch) == (7, 21, 2)
    assert plan.epochs == sum(len(batch.rows) for batch in plan.batches) / 30
    assert planned(sizes, budget=40, epochs=1.5).steps == 8 + 4


def test_a_part_of_a_time_shows_another_share_in_every_epoch() -> None:
    sizes = np.full((400, 3), 2, dtype=np.int64)
    plan = planned(sizes, repeats=[0.25] * 200 + [1.5] * 200, epochs=2)
    shown = [
        Counter(row for batch in plan.batches if batch.epoch == epoch for row in batch.rows)
        for epoch in (0, 1)
    ]
    for counts in shown:
        assert 30 < sum(counts[row] for row in range(200)) < 70
        assert {counts[row] for row in range(200, 400)} == {1, 2}
        assert 270 < sum(counts[row] for row in range(200, 400)) < 330
    assert {row for row in shown[0] if row < 200} != {row for row in shown[1] if row < 200}
    assert planned(sizes, repeats=[0.25] * 200 + [1.5] * 200, epochs=2) == plan


def test_rows_that_are_never_shown_are_refused() -> None:
    with pytest.raises(InputError, match="no row is shown in an epoch"):
        planned(np.ones((3, 3), dtype=np.int64), repeats=[0.0] * 3, steps=2)


def test_too_little_for_one_step_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        planned(np.zeros((0, 3), dtype=np.int64))
    with pytest.raises(InputError, match="2 rows make 1 batches, and a step takes 4"):
        planned(np.ones((2, 3), dtype=np.int64), per_step=4)
