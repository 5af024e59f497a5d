from __future__ import annotations

import importlib
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest

from inbedder_retrieval import (
    CheckpointError,
    Embedder,
    ExportError,
    InputError,
    MissingExtraError,
    Recipe,
    Views,
)
from inbedder_retrieval.checkpoint import PACKAGED_MODELS, find_checkpoint
from inbedder_retrieval.export import CLOSED, ExportReport, export_onnx
from tests.conftest import QUESTIONS
from tests.reference import plain_vectors, unit

TEXTS = ["the phone is broken", "where is my refund?", "", "a red chair " * 9, "[MASK] [SEP]"]
VIEWS = Views.of(QUESTIONS)


BACKENDS: tuple[Literal["onnx"], Literal["torch"]] = ("onnx", "torch")


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint to change."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


@pytest.fixture(scope="module")
def exported(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """What an export of a copy of the tiny checkpoint reports."""
    folder = shutil.copytree(tiny_folder, tmp_path_factory.mktemp("export") / "tiny")
    return export_onnx(folder, TEXTS, VIEWS)


@pytest.fixture(params=["exported", "packaged"])
def folder_with_graph(request: pytest.FixtureRequest) -> Path:
    """A fresh export, and the model that is shipped."""
    if request.param == "packaged":
        return PACKAGED_MODELS / "inbedder-minilm"
    report: ExportReport = request.getfixturevalue("exported")
    return report.path.parent


@pytest.fixture
def graph(folder_with_graph: Path) -> onnx.ModelProto:
    return onnx.load(folder_with_graph / "model.onnx")


@pytest.fixture
def config(folder_with_graph: Path) -> dict[str, Any]:
    return find_checkpoint(folder_with_graph).config


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() if path.is_file() else b"" for path in folder.iterdir()}


def test_an_export_loads_and_points_where_the_plain_vectors_do(
    exported: ExportReport, tiny_folder: Path
) -> None:
    small = Embedder(exported.path.parent, backend="onnx").embed(TEXTS, VIEWS)
    plain = plain_vectors(tiny_folder, TEXTS, QUESTIONS, most=40)
    for name in QUESTIONS:
        assert ((small[name] * unit(plain[name])).sum(axis=1) >= 0.98).all()


def test_the_report_says_what_was_measured(exported: ExportReport, tiny_folder: Path) -> None:
    assert 0 <= exported.difference <= 1e-4
    assert 0.98 <= exported.min_cosine <= exported.mean_cosine <= 1.0001
    assert exported.path.name == "model.onnx"
    assert exported.bytes == exported.path.stat().st_size
    plain = plain_vectors(tiny_folder, TEXTS, QUESTIONS, most=40)
    lengths = [np.linalg.norm(plain[name], axis=1) for name in ("feeling", "need")]
    assert exported.answer_norm == pytest.approx(np.mean(lengths), abs=1e-3)
    assert Recipe.load(exported.path.parent).answer_norm == exported.answer_norm


def test_an_export_leaves_nothing_else_behind_and_keeps_the_fingerprint(
    exported: ExportReport, tiny_folder: Path
) -> None:
    before, after = contents(tiny_folder), contents(exported.path.parent)
    assert set(after) - set(before) == {"model.onnx"}
    assert {name for name in before if before[name] != after[name]} == {"inbedder.json"}
    made = find_checkpoint(exported.path.parent).fingerprint
    assert made == find_checkpoint(tiny_folder).fingerprint


@pytest.mark.parametrize(
    ("gate", "bound", "message"),
    [
        ("MAX_DIFFERENCE", -1.0, "float32 graph differs from torch by .*nothing was written"),
        (
            "MIN_MEAN_COSINE",
            {"int8": 1.1},
            "int8 vectors have a mean cosine of .*nothing was written",
        ),
    ],
)
def test_an_export_that_fails_a_gate_leaves_the_folder_as_it_was(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    gate: str,
    bound: float | dict[str, float],
    message: str,
) -> None:
    (folder / "model.onnx").write_bytes(b"an older graph")
    before = contents(folder)
    monkeypatch.setattr(f"inbedder_retrieval.export.{gate}", bound)
    with pytest.raises(ExportError, match=message):
        export_onnx(folder, TEXTS, VIEWS)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("precision", "least", "bytes_each"), [("float16", 0.99999, 2), ("float32", 0.999999, 4)]
)
def test_a_graph_of_another_precision_stands_beside_and_is_run_when_asked_for(
    folder: Path, precision: Literal["float16", "float32"], least: float, bytes_each: int
) -> None:
    report = export_onnx(folder, TEXTS, VIEWS, precision)
    assert report.path == folder / f"model_{precision}.onnx"
    assert report.min_cosine >= least
    assert not (folder / "model.onnx").exists()
    embedder = Embedder(folder, backend="onnx", precision=precision)
    assert (embedder.runtime.backend, embedder.runtime.precision) == ("onnx", precision)
    assert Embedder(folder, precision=precision).runtime.backend == "onnx"
    assert Embedder(folder).runtime.backend == "torch"
    plain = plain_vectors(folder, TEXTS, QUESTIONS, most=40)
    for name, found in embedder.embed(TEXTS, VIEWS).items():
        assert ((found * unit(plain[name])).sum(axis=1) >= least - 1e-6).all()
    with pytest.raises(CheckpointError, match=r"has no model\.onnx; make it with"):
        Embedder(folder, backend="onnx")
    # The layers' weights are kept in that precision; the head stays float32.
    weights = onnx.load(report.path).graph.initializer
    kind = {2: onnx.TensorProto.FLOAT16, 4: onnx.TensorProto.FLOAT}[bytes_each]
    assert sum(w.data_type == kind and len(w.dims) == 2 for w in weights) >= 6 * 2


def test_a_precision_that_is_not_exported_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"precision is 'bfloat16'; choose int8, float16, float32"):
        export_onnx(folder, TEXTS, VIEWS, "bfloat16")


def test_an_export_without_texts_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="text"):
        export_onnx(folder, [], VIEWS)


def test_an_export_of_one_bare_string_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="one string was given"):
        export_onnx(folder, "the phone", VIEWS)


def test_an_export_with_no_question_keeps_the_answer_norm(folder: Path) -> None:
    """The general view has no answers to measure."""
    before = Recipe.load(folder).answer_norm
    report = export_onnx(folder, TEXTS, Views.of({"general": None}))
    assert before == Recipe.load(folder).answer_norm == report.answer_norm


def test_several_answer_slots_beside_the_general_view_export(folder: Path) -> None:
    """Its vectors are not its views: each slot has one."""
    template = ("{question}", "[SEP]", "[MASK]", "[MASK]")
    changes = {"question_template": template, "answer_norm": None}
    Recipe.load(folder).model_copy(update=changes).save(folder)
    report = export_onnx(folder, TEXTS, VIEWS)
    assert report.answer_norm is not None
    found, plain = (Embedder(folder, backend=b).embed(TEXTS, VIEWS) for b in BACKENDS)
    for name in VIEWS.names:
        assert float((found[name] * plain[name]).sum(axis=1).mean()) >= 0.98


def test_an_inner_layer_is_not_exported(folder: Path) -> None:
    Recipe.load(folder).model_copy(update={"layer": 1}).save(folder)
    with pytest.raises(ExportError, match="pools layer 1; only prefix models pooled at their last"):
        export_onnx(folder, TEXTS, VIEWS)


def test_an_export_needs_the_weights(folder: Path) -> None:
    Recipe.load(folder).model_copy(update={"weights": "0" * 16}).save(folder)
    (folder / "model.safetensors").rename(folder / "model.onnx")
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        export_onnx(folder, TEXTS, VIEWS)


def test_without_onnx_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "inbedder_retrieval.export")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'inbedder-retrieval\[export\]'"):
        importlib.import_module("inbedder_retrieval.export")


def test_attention_and_normalisation_are_fused(
    graph: onnx.ModelProto, config: dict[str, Any]
) -> None:
    """Text and questions are two streams up to the last layer, where only pooled columns read on.

    So every layer but the last attends twice and normalises four times (after attention and after
    the feed-forward network, once a stream); the last attends once and normalises twice. Beside
    the layers each stream's embeddings are normalised, and the head's states.
    """
    before_last = config["num_hidden_layers"] - 1
    counts = Counter(node.op_type for node in graph.graph.node)
    assert counts["MultiHeadAttention"] == 2 * before_last + 1
    assert counts["LayerNormalization"] == 4 * before_last + 2 + 2 + 1
    assert counts["Softmax"] == 0


def test_no_mask_makes_subnormal_weights(graph: onnx.ModelProto) -> None:
    """Softmax gives a masked token e**-50 or less, and float32's normal numbers reach to e**-87."""
    makers = {name: node for node in graph.graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.graph.initializer}
    masked = [node for node in graph.graph.node if node.op_type == "MultiHeadAttention"]
    for node in masked:
        above = makers[node.input[5]]
        while above.op_type in ("Unsqueeze", "Expand"):
            above = makers[above.input[0]]
        assert above.op_type == "Clip"
        assert onnx.numpy_helper.to_array(constants[above.input[1]]) == CLOSED
    assert -87 < CLOSED < np.log(np.finfo(np.float32).eps)


def test_every_product_but_the_heads_and_the_word_embeddings_are_int8(
    graph: onnx.ModelProto, config: dict[str, Any]
) -> None:
    """Six products a layer and stream: query, key, value, output, two of the feed-forward network.

    The last layer has one stream: its queries are of the pooled columns, its keys and values of
    both streams side by side.
    """
    layers = config["num_hidden_layers"]
    constants = {tensor.name: tensor for tensor in graph.graph.initializer}
    makers = {name: node.op_type for node in graph.graph.node for name in node.output}
    plain = [node for node in graph.graph.node if node.op_type == "MatMul"]
    [head] = [node for node in plain if node.input[1] in constants]
    assert constants[head.input[1]].data_type == onnx.TensorProto.FLOAT
    # A product and its bias are one operator, and all it reads is int8 (the bias int32).
    products = [node for node in graph.graph.node if node.op_type == "Gemm"]
    assert len(products) == 12 * (layers - 1) + 6
    for node in products:
        assert [makers.get(name) for name in node.input] == ["DequantizeLinear"] * 3
    shape = [config["vocab_size"], config["hidden_size"]]
    [words] = [tensor for tensor in graph.graph.initializer if list(tensor.dims) == shape]
    assert words.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)


def test_a_weight_that_two_streams_read_is_stored_once() -> None:
    """The packaged model's: of weights as small as the tiny one's the exporter makes copies."""
    folder = PACKAGED_MODELS / "inbedder-minilm"
    config, graph = find_checkpoint(folder).config, onnx.load(folder / "model.onnx")
    layers, width = config["num_hidden_layers"], config["hidden_size"]
    inner = config["intermediate_size"]
    shapes = Counter(tuple(tensor.dims) for tensor in graph.graph.initializer)
    # Query, key, value and output of every layer, and the head's.
    assert shapes[width, width] == 4 * layers + 1
    assert shapes[width, inner] == shapes[inner, width] == layers


def test_no_path_of_the_machine_that_exported_is_in_the_graph(graph: onnx.ModelProto) -> None:
    for tensor in graph.graph.initializer:
        tensor.ClearField("raw_data")
    content = graph.SerializeToString()
    for piece in (b".py", b"site-packages", b"/home/", b"/root/", b"/tmp/", b"Traceback"):
        assert piece not in content
