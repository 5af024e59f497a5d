"""Export a checkpoint to `model.onnx`, behind a parity gate.

The graph takes the four arrays of a packed batch and returns the views' vectors (B, V, H) and
the bare states they came from; mask, pooling and head are inside. Attention is exported as ONNX
Runtime's own fused operator (com.microsoft MultiHeadAttention), so that no pattern matching has
to find it again. The file is int8: weights per channel, embeddings included, and activations by
scales that are measured once, on the texts given. So a vector does not depend on the batch it is
computed in, as it does when scales are taken from each batch. The head stays float32: it is a
thousandth of the work and the last to see an error.

Two gates refuse the file: float32 vectors that differ from torch's, and int8 vectors that point
elsewhere than float32's. Nothing is written when one fails.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.backends import Backend
from inbedder_retrieval.checkpoint import (
    ONNX_FILE,
    Checkpoint,
    find_checkpoint,
    weights_digest,
)
from inbedder_retrieval.errors import ExportError, InputError, MissingExtraError
from inbedder_retrieval.packing import PackedBatch, Packer, check_several
from inbedder_retrieval.views import Views

try:
    import onnx
    import torch
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
except ImportError as error:
    raise MissingExtraError("export", "export") from error

from inbedder_retrieval.backends.onnx import FINGERPRINT_KEY, OnnxBackend, feeds_of
from inbedder_retrieval.backends.torch import PackedModel, TorchBackend, load_packed_model

__all__ = ["MAX_DIFFERENCE", "MIN_MEAN_COSINE", "ExportReport", "export_onnx"]

MAX_DIFFERENCE = 1e-4
MIN_MEAN_COSINE = 0.98
ATTENTION = "inbedder_onnx"
OPSET = 20
TOKEN_BUDGET = 1024


@dataclass(frozen=True)
class ExportReport:
    """What the gates measured, over every text and view they were given.

    Attributes:
        difference: the largest difference of a unit vector's component, float32 against torch.
        mean_cosine, min_cosine: int8 against float32.
        answer_norm: the mean length of a question's vector, now in the recipe; as it was where
            no view asks a question.
        bytes: the size of the file.
    """

    path: Path
    difference: float
    mean_cosine: float
    min_cosine: float
    answer_norm: float | None
    bytes: int


def export_onnx(folder: str | Path, texts: Sequence[str], views: Views) -> ExportReport:
    """Write `model.onnx` into a checkpoint's folder, and what was measured into its recipe.

    Args:
        texts, views: what the activations are scaled by and the gates compare on. Use some
            hundred real texts; `demo_documents()` will do.

    Raises:
        InputError: no text was given.
        ExportError: a gate was not passed; the folder is unchanged.
        CheckpointError: the folder holds no checkpoint this package can run.
        MissingExtraError: torch, transformers or onnx is not installed.
    """
    check_several(texts)
    if not texts:
        raise InputError("there are no texts to compare on; give a list of some real ones")
    checkpoint = find_checkpoint(folder)
    recipe = checkpoint.recipe
    if recipe.attention != "prefix" or recipe.layer is not None:
        raise ExportError(
            f"{recipe.name} has {recipe.attention} attention"
            + (f" and pools layer {recipe.layer}" if recipe.layer is not None else "")
            + "; only prefix models pooled at their last layer are exported. Use backend='torch'"
        )
    packer = Packer(checkpoint.tokenizer(), recipe)
    questions = packer.questions(views)
    batches = list(packer.batches(packer.tokenize(texts), questions, TOKEN_BUDGET))
    reference, norms = _unit_vectors(TorchBackend(checkpoint), batches)

    # In the checkpoint's own folder, so that the finished file is renamed into place.
    with tempfile.TemporaryDirectory(dir=checkpoint.folder, prefix=".export-") as scratch:
        exact, small = Path(scratch) / "float32", Path(scratch) / "int8"
        exact.mkdir()
        small.mkdir()
        _write_graph(checkpoint, exact / ONNX_FILE)
        plain, _ = _unit_vectors(OnnxBackend(replace(checkpoint, folder=exact)), batches)
        difference = float(np.abs(plain - reference).max())
        if not difference <= MAX_DIFFERENCE:
            raise ExportError(
                f"the float32 graph differs from torch by {difference:.2g}, more than "
                f"{MAX_DIFFERENCE:g}; nothing was written. The exporter and this model do not fit"
            )
        _quantize(exact / ONNX_FILE, small / ONNX_FILE, batches)
        quantized, _ = _unit_vectors(OnnxBackend(replace(checkpoint, folder=small)), batches)
        cosines = (quantized * plain).sum(axis=-1)
        mean_cosine, min_cosine = float(cosines.mean()), float(cosines.min())
        if not mean_cosine >= MIN_MEAN_COSINE:
            raise ExportError(
                f"the int8 vectors have a mean cosine of {mean_cosine:.4f} to float32, under "
                f"{MIN_MEAN_COSINE}; nothing was written. Keep more of the graph in float32"
            )
        path = checkpoint.folder / ONNX_FILE
        os.replace(small / ONNX_FILE, path)

    asked = questions.slots >= 0
    answer_norm = recipe.answer_norm
    if asked.any():
        answer_norm = round(float(norms[:, asked].mean()), 3)
    measured = {"answer_norm": answer_norm, "weights": weights_digest(checkpoint.folder)}
    recipe.model_copy(update=measured).save(checkpoint.folder)
    size = path.stat().st_size
    return ExportReport(path, difference, mean_cosine, min_cosine, answer_norm, size)


def _unit_vectors(
    backend: Backend, batches: list[PackedBatch]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Run batches and return unit vectors (N, V, H) and their lengths before (N, V)."""
    vectors = np.concatenate([backend.run(batch) for batch in batches])
    norms = np.linalg.norm(vectors, axis=-1)
    return vectors / norms[..., None], norms


def _fused_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Stand for one com.microsoft MultiHeadAttention node, in transformers' attention interface.

    `query`, `key` and `value` are (B, heads, S, width); returns (B, S, heads, width).
    """
    batch, heads, tokens, width = query.shape
    inputs = [part.transpose(1, 2).reshape(batch, tokens, -1) for part in (query, key, value)]
    attended: torch.Tensor = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        (*inputs, None, None, attention_mask),
        attrs={"num_heads": heads, "scale": float(scaling)},
        dtype=query.dtype,
        shape=(batch, tokens, heads * width),
        version=1,
    )
    return attended.reshape(batch, tokens, heads, width), None


def _write_graph(checkpoint: Checkpoint, path: Path) -> None:
    ALL_ATTENTION_FUNCTIONS.register(ATTENTION, _fused_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION, sdpa_mask)
    model: PackedModel = load_packed_model(checkpoint, attention=ATTENTION)
    batch, tokens, count = (torch.export.Dim(name) for name in ("batch", "tokens", "views"))
    # Sizes that differ from each other and from one, so that no axis is taken for another.
    segments = torch.tensor([[0] * 6 + [1] * 4 + [2] * 4]).repeat(2, 1)
    places = torch.arange(14).repeat(2, 1)
    # Two tensors, not one twice: the exporter would make them one input.
    example = (places.clone(), places, segments, torch.ones(2, 3, 14))
    with _quiet():
        program = torch.onnx.export(
            model,
            example,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["input_ids", "position_ids", "segment_ids", "pool_weights"],
            output_names=["vectors", "states"],
            dynamic_shapes=(
                {0: batch, 1: tokens},
                {0: batch, 1: tokens},
                {0: batch, 1: tokens},
                {0: batch, 1: count, 2: tokens},
            ),
        )
    if program is None:
        raise ExportError("torch.onnx.export returned no program; nothing was written")
    graph = program.model_proto
    graph.metadata_props.add(key=FINGERPRINT_KEY, value=checkpoint.fingerprint)
    # The exporter notes the source line of every node: machine paths, and half of the graph.
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.save(graph, path)


def _quantize(source: Path, target: Path, batches: list[PackedBatch]) -> None:
    """Write the graph with int8 weights, and int8 activations scaled by what `batches` showed."""
    graph = onnx.load(source).graph
    constants = {initializer.name for initializer in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    weighted = [node.name for node in products if node.input[1] in constants]
    pooling = [node.name for node in products if node.input[1] not in constants]
    embeddings = target.with_name("embeddings.onnx")
    with _quiet():
        quantize_dynamic(
            source, embeddings, op_types_to_quantize=["Gather"], weight_type=QuantType.QInt8
        )
        quantize_static(
            embeddings,
            target,
            _Calibration(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*pooling, weighted[-1]],
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
        )
    embeddings.unlink()


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Feeds packed batches to onnxruntime's calibration."""

    def __init__(self, batches: list[PackedBatch]) -> None:
        self._feeds = iter(feeds_of(batch) for batch in batches)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._feeds, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter and the quantiser from reporting every node and tensor they pass."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
