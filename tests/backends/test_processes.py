"""Two processes on one processor stand for two devices."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from inbedder_retrieval import Embedder, InputError
from inbedder_retrieval.errors import DeviceError
from tests.conftest import QUESTIONS

TEXTS = ["the phone", "", "my refund is late, what now?", "a " * 60] * 5


@pytest.fixture(scope="module")
def two(exact_folder: Path) -> Embedder:
    return Embedder(exact_folder, backend="onnx", device="cpu,cpu", threads=1)


def test_two_devices_give_what_one_gives(two: Embedder, exact_folder: Path) -> None:
    wanted = Embedder(exact_folder, backend="onnx").embed(TEXTS, QUESTIONS)
    found = two.embed(TEXTS, QUESTIONS, token_budget=60)
    for name in QUESTIONS:
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=1e-5)


def test_a_runtime_of_several_devices_names_them_and_adds_up_their_threads(two: Embedder) -> None:
    assert (two.runtime.device, two.runtime.threads) == ("cpu,cpu", 2)
    assert two.runtime.workers >= 2


def test_an_error_of_one_device_is_raised_here(exact_folder: Path) -> None:
    with pytest.raises(InputError, match="no device 'typewriter'"):
        Embedder(exact_folder, backend="onnx", device="cpu,typewriter")


def test_a_process_that_is_gone_is_said_to_be_gone(exact_folder: Path) -> None:
    before = set(multiprocessing.active_children())
    embedder = Embedder(exact_folder, backend="onnx", device="cpu,cpu", threads=1)
    for child in set(multiprocessing.active_children()) - before:
        child.kill()
        child.join()
    with pytest.raises(DeviceError, match="the process that ran cpu has ended"):
        embedder.embed(TEXTS, QUESTIONS)
