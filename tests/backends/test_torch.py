from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inbedder_retrieval import Embedder, InputError, MissingExtraError
from inbedder_retrieval.recipe import Recipe
from tests.backends.conftest import DEMO_QUESTIONS
from tests.conftest import QUESTIONS as GENERAL_FIRST
from tests.reference import plain_vectors, unit

TEXTS = ["the phone", "", "my refund is late, what now?", "[MASK] [SEP] head", "a " * 60]
# The general view last, so that a question is the first segment.
QUESTIONS = dict(reversed(GENERAL_FIRST.items()))


def test_packed_vectors_are_the_plain_ones(tiny: Embedder, tiny_folder: Path) -> None:
    plain = plain_vectors(tiny_folder, TEXTS, QUESTIONS, most=40)
    packed = tiny.embed(TEXTS, QUESTIONS)
    for name in QUESTIONS:
        np.testing.assert_allclose(packed[name], unit(plain[name]), rtol=0, atol=1e-5)


def test_the_packaged_models_vectors_are_the_plain_ones(
    demo_texts: list[str], demo_vectors: dict[str, NDArray[np.float32]]
) -> None:
    packed = Embedder(backend="torch").embed(demo_texts[:20], DEMO_QUESTIONS)
    for name, plain in demo_vectors.items():
        np.testing.assert_allclose(packed[name], plain[:20], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("precision", "mean", "least"),
    # Seven bits of fraction are too few for every single vector to keep 0.9999: 0.99984 was seen.
    [("float16", 0.9999, 0.9999), ("bfloat16", 0.9999, 0.9995)],
)
def test_half_the_digits_point_where_all_do(
    demo_texts: list[str],
    demo_vectors: dict[str, NDArray[np.float32]],
    precision: Any,
    mean: float,
    least: float,
) -> None:
    embedder = Embedder(precision=precision)
    assert str(embedder.runtime).startswith(f"torch {precision} on cpu")
    found = embedder.embed(demo_texts, DEMO_QUESTIONS)
    cosines = np.stack([(found[name] * demo_vectors[name]).sum(axis=1) for name in DEMO_QUESTIONS])
    assert cosines.mean() >= mean
    assert cosines.min() >= least
    assert all(vectors.dtype == np.float32 for vectors in found.values())


def test_without_a_head_the_answer_slots_state_is_the_vector(folder: Path) -> None:
    Recipe.load(folder).model_copy(update={"head": "none"}).save(folder)
    plain = plain_vectors(folder, TEXTS, QUESTIONS, most=40, head=False)
    packed = Embedder(folder, backend="torch").embed(TEXTS, QUESTIONS)
    for name in QUESTIONS:
        np.testing.assert_allclose(packed[name], unit(plain[name]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("head", ["mlm", "none"])
def test_several_answer_slots_are_averaged_after_the_head(folder: Path, head: str) -> None:
    template = ("{question}", "[SEP]", "[MASK]", "[MASK]")
    changes = {"question_template": template, "head": head}
    Recipe.load(folder).model_copy(update=changes).save(folder)
    plain = plain_vectors(folder, TEXTS, QUESTIONS, most=40, slots=2, head=head == "mlm")
    packed = Embedder(folder, backend="torch").embed(TEXTS, QUESTIONS)
    for name in QUESTIONS:
        np.testing.assert_allclose(packed[name], unit(plain[name]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("device", ["typewriter", "xla"])
def test_a_device_torch_cannot_use_is_refused(tiny_folder: Path, device: str) -> None:
    with pytest.raises(InputError, match=f"cannot use the device '{device}'"):
        Embedder(tiny_folder, backend="torch", device=device)


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_without_the_packages_the_install_line_is_given(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for module in ("packed", "torch"):
        monkeypatch.delitem(sys.modules, f"inbedder_retrieval.backends.{module}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'inbedder-retrieval\[torch\]'"):
        Embedder(tiny_folder, backend="torch")
