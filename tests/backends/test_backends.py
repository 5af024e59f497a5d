"""What every backend keeps: which one is taken, and that a vector is a matter of its text alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inbedder_retrieval import Embedder, InputError
from inbedder_retrieval.backends import Runtime
from tests.conftest import QUESTIONS

MANY = QUESTIONS | {f"q{k}": f"what {'the ' * (k % 9)} {k}?" for k in range(64)}


@pytest.fixture(scope="session", params=["torch", "onnx"])
def exact(request: pytest.FixtureRequest, exact_folder: Path) -> Embedder:
    """The tiny checkpoint in float32 on each backend."""
    return Embedder(exact_folder, backend=request.param)


@pytest.fixture
def torch_threads() -> Iterator[None]:
    """torch counts its threads for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def runtime(**changes: Any) -> Runtime:
    usual: dict[str, Any] = {
        "backend": "torch",
        "device": "cpu",
        "precision": "float32",
        "threads": 2,
        "workers": 1,
        "token_budget": 10,
        "batch_size": 10,
    }
    return Runtime(**(usual | changes))


def test_a_runtime_reads_as_a_phrase() -> None:
    assert str(runtime()) == "torch float32 on cpu, 2 threads"
    assert str(runtime(backend="onnx", precision="int8", threads=1)) == "onnx int8 on cpu, 1 thread"
    assert str(runtime(device="cuda:1", precision="float16")) == "torch float16 on cuda:1"


def test_the_packaged_model_runs_int8_on_every_processor_it_may_use(packaged: Embedder) -> None:
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = packaged.runtime
    assert (found.backend, found.device, found.precision) == ("onnx", "cpu", "int8")
    assert found.threads == found.workers == free


@pytest.mark.usefixtures("torch_threads")
@pytest.mark.parametrize("threads", [1, 3])
def test_threads_are_batches_on_onnx_and_cores_of_one_batch_on_torch(
    exact_folder: Path, threads: int
) -> None:
    onnx = Embedder(exact_folder, backend="onnx", threads=threads).runtime
    assert (onnx.threads, onnx.workers) == (threads, threads)
    plain = Embedder(exact_folder, backend="torch", threads=threads).runtime
    assert (plain.threads, plain.workers) == (threads, 1)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("options", "backend", "precision"),
    [
        ({}, "onnx", "int8"),
        ({"precision": "int8"}, "onnx", "int8"),
        ({"precision": "float32"}, "torch", "float32"),
        ({"backend": "torch"}, "torch", "float32"),
    ],
)
def test_the_backend_is_the_one_that_has_the_precision(
    options: dict[str, Any], backend: str, precision: str
) -> None:
    found = Embedder(**options).runtime
    assert (found.backend, found.precision) == (backend, precision)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "onnx", "precision": "float16"}, "int8, and float16 was asked for; make such"),
        ({"backend": "torch", "precision": "int8"}, "no precision 'int8'; choose float32, float16"),
        ({"precision": "float8"}, "no precision 'float8'; choose float32"),
    ],
)
def test_a_precision_that_the_backend_lacks_is_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Embedder(**options)


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(st.text("abz ?ü😀", max_size=60), min_size=1, max_size=6),
    neighbours=st.lists(st.sampled_from(["", "the phone " * 30, "what?"]), max_size=3),
    budget=st.integers(1, 600),
    size=st.integers(1, 4),
    data=st.data(),
)
def test_a_vector_is_a_matter_of_its_text_and_question_alone(
    exact: Embedder,
    texts: list[str],
    neighbours: list[str],
    budget: int,
    size: int,
    data: st.DataObject,
) -> None:
    """Not of the batch, the order, what stands beside it or what else is asked."""
    alone = [exact.embed([text], QUESTIONS, token_budget=1) for text in texts]
    order = data.draw(st.permutations(range(len(texts))))
    names = data.draw(st.lists(st.sampled_from(list(MANY)), min_size=1, unique=True))
    stream = exact.embed_batches(
        [*(texts[k] for k in order), *neighbours],
        {name: MANY[name] for name in names},
        batch_size=size,
        token_budget=budget,
    )
    parts = list(stream)
    for name in set(names) & set(QUESTIONS):
        found = np.concatenate([part[name] for part in parts])[: len(texts)]
        wanted = [alone[k][name][0] for k in order]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_sixty_four_questions_are_answered_as_each_alone(exact: Embedder) -> None:
    texts = ["the phone", "", "my refund is late " * 9]
    together = exact.embed(texts, MANY)
    assert len(together) == 67
    for name in ("general", "need", "q0", "q8", "q63"):
        alone = exact.embed(texts, {name: MANY[name]})[name]
        np.testing.assert_allclose(together[name], alone, rtol=0, atol=1e-5)


def test_threads_that_share_an_embedder_get_what_each_gets_alone(exact: Embedder) -> None:
    """Of several lengths, batches and questions at a time."""
    work = [
        ([f"the phone {k}" * (k + 1), "", "a " * 60] * 5, dict([*MANY.items()][k : k + 3]))
        for k in range(8)
    ]

    def embed(job: tuple[list[str], dict[str, str | None]]) -> list[Any]:
        texts, questions = job
        return [*exact.embed(texts, questions, token_budget=200).values()]

    alone = [embed(job) for job in work]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(embed, work))
    for found, wanted in zip(together, alone, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning")
def test_a_compiled_model_gives_the_same_vectors(tiny_folder: Path, tiny: Embedder) -> None:
    views = {"general": None, "what": "what?", "need": "What does the customer need?"}
    texts = ["the phone", "my refund is late, what now? " * 2, "a"]
    compiled = Embedder(tiny_folder, backend="torch", compiled=True)
    for some in (texts, texts[:1]):
        found, plain = compiled.embed(some, views), tiny.embed(some, views)
        for name in views:
            np.testing.assert_allclose(found[name], plain[name], rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning")
def test_what_cannot_be_compiled_is_refused() -> None:
    with pytest.raises(InputError, match="the onnx backend compiles nothing"):
        Embedder(backend="onnx", compiled=True)
    assert Embedder(compiled=True).runtime.backend == "torch"
