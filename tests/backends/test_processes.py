"""Two processes on one processor stand for two devices."""

from __future__ import annotations

import multiprocessing
import os
import signal
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_what_a_process_is_forked_into_has_none_of_its_processes(two: Embedder) -> None:
    before = two.embed(TEXTS, QUESTIONS)
    child = os.fork()
    if child == 0:
        try:
            two.embed(["a"], QUESTIONS)
        except DeviceError as error:
            os._exit(0 if "made before a fork" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    for name, vectors in two.embed(TEXTS, QUESTIONS).items():
        np.testing.assert_array_equal(vectors, before[name])


def test_an_interrupt_ends_no_process(exact_folder: Path) -> None:
    others = set(multiprocessing.active_children())
    embedder = Embedder(exact_folder, backend="onnx", device="cpu,cpu", threads=1)
    for child in set(multiprocessing.active_children()) - others:
        os.kill(child.pid or 0, signal.SIGINT)
    assert len(embedder.embed(TEXTS, QUESTIONS)["need"]) == len(TEXTS)


def test_a_process_that_is_gone_is_said_to_be_gone(exact_folder: Path) -> None:
    before = set(multiprocessing.active_children())
    embedder = Embedder(exact_folder, backend="onnx", device="cpu,cpu", threads=1)
    for child in set(multiprocessing.active_children()) - before:
        child.kill()
        child.join()
    with pytest.raises(DeviceError, match="the process that ran cpu has ended"):
        embedder.embed(TEXTS, QUESTIONS)
