from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from inbedder_retrieval import CheckpointError, Embedder, InputError, Recipe
from inbedder_retrieval.checkpoint import PACKAGED_MODELS, find_checkpoint
from inbedder_retrieval.export import _write_graph
from tests.backends.conftest import DEMO_QUESTIONS
from tests.conftest import QUESTIONS
from tests.reference import plain_vectors, unit

TEXTS = ["the phone", "", "my refund is late, what now?", "[MASK] [SEP] head", "a " * 60]


@pytest.fixture
def folder(exact_folder: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(exact_folder, tmp_path / "copy"))


@pytest.mark.parametrize("names", [["general"], ["need"], ["feeling", "general", "need"]])
@pytest.mark.parametrize("count", [1, len(TEXTS)])
def test_the_float32_graph_gives_the_plain_vectors(
    exact_folder: Path, names: list[str], count: int
) -> None:
    questions = {name: QUESTIONS[name] for name in names}
    plain = plain_vectors(exact_folder, TEXTS[:count], questions, most=40)
    packed = Embedder(exact_folder, backend="onnx").embed(TEXTS[:count], questions)
    for name in names:
        np.testing.assert_allclose(packed[name], unit(plain[name]), rtol=0, atol=1e-5)


def test_the_packaged_int8_vectors_point_where_the_plain_ones_do(
    packaged: Embedder, demo_texts: list[str], demo_vectors: dict[str, NDArray[np.float32]]
) -> None:
    small = packaged.embed(demo_texts, DEMO_QUESTIONS)
    for name, plain in demo_vectors.items():
        cosines = (small[name] * plain).sum(axis=1)
        assert cosines.mean() >= 0.98, name


def test_the_number_of_threads_does_not_change_the_vectors(exact_folder: Path) -> None:
    alone = Embedder(exact_folder, threads=1).embed(TEXTS, QUESTIONS)
    several = Embedder(exact_folder, threads=3).embed(TEXTS, QUESTIONS)
    for name in QUESTIONS:
        np.testing.assert_allclose(alone[name], several[name], rtol=0, atol=1e-5)


def test_a_folder_without_a_graph_says_how_to_make_one(tiny_folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no model\.onnx; make it with 'inbedder export"):
        Embedder(tiny_folder, backend="onnx")


def test_a_file_that_is_no_graph_is_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(CheckpointError, match="cannot be loaded by onnxruntime"):
        Embedder(folder, backend="onnx")


def test_a_graph_of_other_weights_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CheckpointError, match="made from other weights or another recipe"):
        Embedder(folder, backend="onnx")


def test_a_graph_of_another_prompt_is_refused(folder: Path) -> None:
    Recipe.load(folder).model_copy(update={"question_token_type": 0}).save(folder)
    with pytest.raises(CheckpointError, match="made from other weights or another recipe"):
        Embedder(folder, backend="onnx")


def test_a_graph_of_another_version_says_to_export_again(
    exact_folder: Path, tmp_path: Path
) -> None:
    old = Path(shutil.copytree(exact_folder, tmp_path / "old"))
    graph = onnx.load(old / "model.onnx")
    for given in graph.graph.input:
        given.name = given.name.replace("question_rows", "rows_of_questions")
    for node in graph.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = name.replace("question_rows", "rows_of_questions")
    onnx.save(graph, old / "model.onnx")
    with pytest.raises(CheckpointError, match=r"another version.*question_rows.*inbedder export"):
        Embedder(old, backend="onnx")


@pytest.mark.parametrize(
    "changes", [{"question_start": 40}, {"question_start": 7, "reads_from": 1}]
)
def test_a_graph_whose_questions_start_alike_gives_the_plain_vectors(
    folder: Path, changes: dict[str, int]
) -> None:
    Recipe.load(folder).model_copy(update=changes).save(folder)
    _write_graph(find_checkpoint(folder), folder / "model.onnx")
    start, reads_from = changes["question_start"], changes.get("reads_from", 0)
    plain = plain_vectors(folder, TEXTS, QUESTIONS, most=40, start=start, reads_from=reads_from)
    packed = Embedder(folder, backend="onnx").embed(TEXTS, QUESTIONS)
    for name, vectors in plain.items():
        np.testing.assert_allclose(packed[name], unit(vectors), rtol=0, atol=1e-5)


def test_a_folder_may_hold_the_graph_without_the_weights(tmp_path: Path) -> None:
    packaged = PACKAGED_MODELS / "inbedder-minilm"
    for name in ("config.json", "inbedder.json", "tokenizer.json", "model.onnx"):
        shutil.copy(packaged / name, tmp_path)
    alone = Embedder(tmp_path, backend="onnx")
    assert alone.fingerprint == find_checkpoint(packaged).fingerprint


def test_a_device_onnxruntime_does_not_have_is_refused(exact_folder: Path) -> None:
    with pytest.raises(InputError, match="no device 'typewriter'; it has cpu"):
        Embedder(exact_folder, backend="onnx", device="typewriter")


def test_a_packaged_vector_hardly_depends_on_what_it_is_computed_with(
    packaged: Embedder, demo_texts: list[str]
) -> None:
    """Activations are scaled by what was measured once, not by what is in the batch.

    Where a number lies on the edge between two of int8, the order of a float sum decides, which
    a wider batch changes: one vector in a hundred. All others are the same.
    """
    questions = DEMO_QUESTIONS | {f"q{k}": f"What is question {k} about?" for k in range(20)}
    neighbours = ["😀 " * 300, "", "x"]
    alone = packaged.embed(demo_texts, DEMO_QUESTIONS, token_budget=1)
    for found in (
        packaged.embed([*demo_texts, *neighbours], DEMO_QUESTIONS, token_budget=20_000),
        packaged.embed([*demo_texts, *neighbours], questions),
    ):
        both = [(found[name][: len(demo_texts)], alone[name]) for name in DEMO_QUESTIONS]
        same = [np.abs(one - other).max(axis=1) < 1e-5 for one, other in both]
        assert np.mean(same) >= 0.95
        assert min((one * other).sum(axis=1).min() for one, other in both) >= 0.98


def test_order_and_repetition_change_no_packaged_vector(
    packaged: Embedder, demo_texts: list[str]
) -> None:
    found = packaged.embed(demo_texts, DEMO_QUESTIONS)
    again = packaged.embed(demo_texts[::-1], DEMO_QUESTIONS)
    for name in DEMO_QUESTIONS:
        np.testing.assert_allclose(again[name][::-1], found[name], rtol=0, atol=1e-5)
