"""Export a checkpoint to an ONNX file, behind a parity gate.

The graph is that of `PrefixModel`: it takes the two blocks of a packed batch and returns the views'
vectors (B, V, H) and the bare states they came from; masks, pooling and head are inside. Attention
is exported as ONNX Runtime's own fused operator (com.microsoft MultiHeadAttention), so that no
pattern matching has to find it again. `model.onnx` is int8, as `quantize.py` says: for CPUs. Files
of other precisions stand beside it: float16 for accelerators, float32 for exact vectors without
torch.

Two gates refuse the file: float32 vectors that differ from torch's, and vectors of the file that
point elsewhere than float32's. Nothing is written when one fails.
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

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.backends import Backend
from inbedder_retrieval.checkpoint import (
    ONNX_FILES,
    Checkpoint,
    find_checkpoint,
    weights_digest,
)
from inbedder_retrieval.errors import ExportError, InputError, MissingExtraError
from inbedder_retrieval.packing import PackedBatch, Packer
from inbedder_retrieval.texts import check_several
from inbedder_retrieval.views import Views

try:
    import onnx
    import torch
except ImportError as error:
    raise MissingExtraError("export", "export") from error

from inbedder_retrieval.backends.onnx import FINGERPRINT_KEY, PRECISION_KEY, OnnxBackend
from inbedder_retrieval.backends.packed import load_packed_model
from inbedder_retrieval.backends.prefix import MODEL_TYPES, PrefixModel
from inbedder_retrieval.backends.torch import TorchBackend
from inbedder_retrieval.quantize import quantize, smooth

__all__ = ["MAX_DIFFERENCE", "MIN_MEAN_COSINE", "ExportReport", "export_onnx"]

MAX_DIFFERENCE = 1e-4
# The gate of each precision that is exported.
MIN_MEAN_COSINE = {"int8": 0.98, "float16": 0.9999, "float32": 0.9999}
OPSET = 20
# What a backend takes unasked, whatever it is made of.
GRAPH = ONNX_FILES["int8"]
TOKEN_BUDGET = 1024
# What a mask adds in the graph. ONNX Runtime's softmax makes subnormal numbers of anything further
# below the rest than 87, and Intel's processors multiply those a hundred times as slowly: masked
# attention took twice as long. A weight of e**-50 is nothing beside float32's 6e-8.
CLOSED = -50.0


@dataclass(frozen=True)
class ExportReport:
    """What the gates measured, over every text and view they were given.

    Attributes:
        precision: what the file's layers run in.
        difference: the largest difference of a unit vector's component, float32 against torch.
        mean_cosine, min_cosine: the file's vectors against float32's.
        answer_norm: the mean length of a question's vector, now in the recipe; as it was where
            no view asks a question.
        bytes: the size of the file.
    """

    path: Path
    precision: str
    difference: float
    mean_cosine: float
    min_cosine: float
    answer_norm: float | None
    bytes: int


def export_onnx(
    folder: str | Path, texts: Sequence[str], views: Views, precision: str = "int8"
) -> ExportReport:
    """Write an ONNX file into a checkpoint's folder, and what was measured into its recipe.

    Args:
        texts, views: what the activations are scaled by and the gates compare on. Use some
            hundred real texts; `demo_documents()` will do.
        precision: `int8` writes `model.onnx`; `float16` and `float32` write `model_float16.onnx`
            and `model_float32.onnx` beside it. The head after the layers stays float32.

    Raises:
        InputError: no text was given, or there is no such precision.
        ExportError: a gate was not passed; the folder is unchanged.
        CheckpointError: the folder holds no checkpoint this package can run.
        MissingExtraError: torch, transformers or onnx is not installed.
    """
    check_several(texts)
    if precision not in MIN_MEAN_COSINE:
        raise InputError(f"precision is {precision!r}; choose {', '.join(MIN_MEAN_COSINE)}")
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
        exact, made = Path(scratch) / "exact", Path(scratch) / "made"
        exact.mkdir()
        made.mkdir()
        # What is rounded to int8 is evened out before; what is not stays as it is.
        shown = batches if precision == "int8" else []
        _write_graph(checkpoint, exact / GRAPH, "float32", shown)
        plain = _run(checkpoint, exact, batches)
        difference = float(np.abs(plain - reference).max())
        if not difference <= MAX_DIFFERENCE:
            raise ExportError(
                f"the float32 graph differs from torch by {difference:.2g}, more than "
                f"{MAX_DIFFERENCE:g}; nothing was written. The exporter and this model do not fit"
            )
        if precision == "int8":
            with _quiet():
                quantize(exact / GRAPH, made / GRAPH, batches)
            graph = onnx.load(made / GRAPH)
            _describe(graph, checkpoint, precision)
            onnx.save(graph, made / GRAPH)
        else:
            _write_graph(checkpoint, made / GRAPH, precision)
        cosines = (_run(checkpoint, made, batches) * plain).sum(axis=-1)
        mean_cosine, min_cosine = float(cosines.mean()), float(cosines.min())
        if not mean_cosine >= MIN_MEAN_COSINE[precision]:
            raise ExportError(
                f"the {precision} vectors have a mean cosine of {mean_cosine:.4f} to float32, "
                f"under {MIN_MEAN_COSINE[precision]}; nothing was written. Use another precision"
            )
        path = checkpoint.folder / ONNX_FILES[precision]
        os.replace(made / GRAPH, path)

    asked = questions.slots >= 0
    answer_norm = recipe.answer_norm
    if asked.any():
        answer_norm = round(float(norms[:, asked].mean()), 3)
    measured = {"answer_norm": answer_norm, "weights": weights_digest(checkpoint.folder)}
    recipe.model_copy(update=measured).save(checkpoint.folder)
    size = path.stat().st_size
    return ExportReport(path, precision, difference, mean_cosine, min_cosine, answer_norm, size)


def _run(checkpoint: Checkpoint, folder: Path, batches: list[PackedBatch]) -> NDArray[np.float32]:
    """Return the unit vectors (N, V, H) that the graph in `folder` gives for batches."""
    return _unit_vectors(OnnxBackend(replace(checkpoint, folder=folder)), batches)[0]


def _unit_vectors(
    backend: Backend, batches: list[PackedBatch]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Run batches and return unit vectors (N, V, H) and their lengths before (N, V)."""
    vectors = np.concatenate([backend.run(batch) for batch in batches])
    norms = np.linalg.norm(vectors, axis=-1)
    return vectors / norms[..., None], norms


def _fused(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor,
    heads: int,
) -> torch.Tensor:
    """Stand for one com.microsoft MultiHeadAttention node, as `prefix.attend` computes it."""
    each = bias.clamp(min=CLOSED).expand(-1, query.shape[1], -1)[:, None]
    read: torch.Tensor = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        (query, key, value, None, None, each),
        attrs={"num_heads": heads, "scale": (query.shape[-1] // heads) ** -0.5},
        dtype=query.dtype,
        shape=query.shape,
        version=1,
    )
    return read


def _write_graph(
    checkpoint: Checkpoint,
    path: Path,
    precision: str = "float32",
    batches: Sequence[PackedBatch] = (),
) -> None:
    """Write a graph, with weights and inputs scaled for int8 by what `batches` show."""
    model = load_packed_model(checkpoint, precision=precision, attend=_fused)
    reference = load_packed_model(checkpoint)
    if not isinstance(model, PrefixModel) or not isinstance(reference, PrefixModel):
        raise ExportError(
            f"{checkpoint.name} is no {' or '.join(MODEL_TYPES)} model, and only those are "
            "exported; nothing was written. Use backend='torch'"
        )
    smooth(model, reference, batches)
    names = ("batch", "text", "blocks", "groups", "width", "columns", "views")
    batch, text, blocks, groups, width, columns, views = map(torch.export.Dim, names)
    # Sizes that differ from each other and from one, so that no axis is taken for another.
    asked = torch.tensor([[1, 1, 1, 2, 2], [3, 3, 4, 4, -1], [5, 5, 5, 5, 5]]).repeat(6, 1, 1)
    example = {
        "text_ids": torch.arange(7).repeat(2, 1),
        "text_segments": torch.zeros(2, 7, dtype=torch.long),
        "question_ids": torch.arange(15).reshape(3, 5).repeat(6, 1, 1),
        "question_positions": torch.arange(7, 22).reshape(3, 5).repeat(6, 1, 1),
        "question_segments": asked,
        "question_rows": torch.tensor([4, 1]),
        "columns": torch.tensor([0, 1, 2, 3, 4, 5, 6, 9, 11, 13, 15]),
        "pooled_segments": torch.tensor([[0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]]).repeat(2, 1),
        "pool_weights": torch.ones(2, 4, 11),
    }
    in_text, in_block = {0: batch, 1: text}, {0: blocks, 1: groups, 2: width}
    with _quiet():
        program = torch.onnx.export(
            model,
            kwargs=example,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(example),
            output_names=["vectors", "states"],
            dynamic_shapes={
                "text_ids": in_text,
                "text_segments": in_text,
                "question_ids": in_block,
                "question_positions": in_block,
                "question_segments": in_block,
                "question_rows": {0: batch},
                "columns": {0: columns},
                "pooled_segments": {0: batch, 1: columns},
                "pool_weights": {0: batch, 1: views, 2: columns},
            },
        )
    if program is None:
        raise ExportError("torch.onnx.export returned no program; nothing was written")
    graph = program.model_proto
    _describe(graph, checkpoint, precision)
    # The exporter notes the source line of every node: machine paths, and half of the graph.
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.save(graph, path)


def _describe(graph: onnx.ModelProto, checkpoint: Checkpoint, precision: str) -> None:
    """Note what a graph was made from and what it runs in."""
    about = {FINGERPRINT_KEY: checkpoint.fingerprint, PRECISION_KEY: precision}
    onnx.helper.set_model_props(graph, about)


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
