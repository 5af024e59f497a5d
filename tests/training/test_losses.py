"""Each loss against the same sum written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inbedder_retrieval.training.losses import (
    alignment_loss,
    contrast_loss,
    distillation_loss,
    token_loss,
    words_loss,
)

Array = NDArray[np.float64]


def draw(*shape: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def log_shares(values: Array) -> Array:
    found: Array = values - np.log(np.exp(values).sum(axis=-1, keepdims=True))
    return found


def unit(values: Array) -> Array:
    found: Array = values / np.linalg.norm(values, axis=-1, keepdims=True)
    return found


def test_words_spread_an_answer_evenly_over_its_pieces() -> None:
    logits = draw(3, 7, seed=0)
    answers = [[2], [1, 4, 6], [5, 5]]
    wanted = -np.mean(
        [np.mean([log_shares(logits)[k][p] for p in bag]) for k, bag in enumerate(answers)]
    )
    pieces = torch.tensor([[2, 0, 0], [1, 4, 6], [5, 5, 0]])
    weights = torch.tensor([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]])
    found = words_loss(torch.tensor(logits), pieces, weights)
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_alignment_is_cross_entropy_between_cosines_and_the_cosine_to_ones_own() -> None:
    states, answers, own = draw(4, 5, seed=1), draw(3, 5, seed=2), [0, 2, 2, 1]
    cosines = unit(states) @ unit(answers).T
    targets = np.exp(log_shares(unit(answers)[own] @ unit(answers).T / 0.1))
    shared = -(targets * log_shares(cosines / 0.1)).sum(1).mean()
    apart = np.mean([1 - cosines[k][one] for k, one in enumerate(own)])
    found = alignment_loss(
        torch.tensor(states),
        torch.tensor(answers),
        torch.tensor(own),
        temperature=0.1,
        cosine_weight=3.0,
    )
    assert float(found) == pytest.approx(shared + 3 * apart, rel=1e-5)


def test_distillation_is_one_less_the_cosine_whatever_the_lengths() -> None:
    general, teacher = draw(4, 5, seed=3), draw(4, 5, seed=4)
    wanted = np.mean(1 - (unit(general) * unit(teacher)).sum(1))
    found = distillation_loss(torch.tensor(general), torch.tensor(7 * teacher))
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_tokens_without_a_label_count_for_nothing() -> None:
    logits = draw(2, 3, 6, seed=5)
    labels = [[-100, 4, -100], [2, -100, 0]]
    wanted = -np.mean([log_shares(logits)[place] for place in ((0, 1, 4), (1, 0, 2), (1, 2, 0))])
    assert float(token_loss(torch.tensor(logits), torch.tensor(labels))) == pytest.approx(
        wanted, rel=1e-5
    )


def test_contrast_is_cross_entropy_between_answers_and_vectors_of_the_other_slots() -> None:
    vectors, answers, own = draw(5, 4, seed=7), draw(3, 6, seed=8), [0, 2, 2, 1, 0]
    alike = unit(answers)[own] @ unit(answers)[own].T / 0.1
    found = unit(vectors) @ unit(vectors).T / 0.2
    sums = []
    for slot in range(5):
        others = [k for k in range(5) if k != slot]
        target = np.exp(log_shares(alike[slot, others]))
        sums.append(-(target * log_shares(found[slot, others])).sum())
    loss = contrast_loss(
        torch.tensor(vectors),
        torch.tensor(answers),
        torch.tensor(own),
        temperature=0.1,
        contrast_temperature=0.2,
    )
    assert float(loss) == pytest.approx(float(np.mean(sums)), rel=1e-5)


def test_contrast_of_slots_that_have_no_others_is_nothing() -> None:
    given = torch.ones(2, 3, requires_grad=True)
    own = torch.tensor([0, 0])
    loss = contrast_loss(given, torch.ones(1, 3), own, temperature=1.0, contrast_temperature=1.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0.0
    assert given.grad is not None
    assert not given.grad.any()
