"""int8: weights and activations of an exported graph, rounded so that little is lost.

Weights are rounded per output channel, activations by one scale for each tensor, measured once on
given texts: scales taken from each batch would make a vector depend on its neighbours. Residuals,
normalisation, attention and the head stay float32; they are little of the work and the first to
suffer.

Before that, what goes into a layer's feed-forward network is evened out. A few of its channels are
many times as large as the rest and would take the whole range of 8 bits; each channel is divided
by a factor that its column of the weights is multiplied by, which changes nothing but the rounding
(SmoothQuant, Xiao et al. 2023, arXiv 2211.10438, section 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from inbedder_retrieval.backends.prefix import PrefixModel
from inbedder_retrieval.packing import PackedBatch, blocks_of

__all__ = ["quantize", "smooth"]

# How much of the unevenness goes into the weights: the paper's middle.
MIGRATION = 0.5


class _Scaled(torch.nn.Module):
    """A linear layer whose input channels are divided by `factors` and its weights multiplied."""

    def __init__(self, linear: torch.nn.Linear, factors: torch.Tensor) -> None:
        super().__init__()
        self.linear = linear
        self.inverse = torch.nn.Parameter(1 / factors, requires_grad=False)
        with torch.no_grad():
            linear.weight.mul_(factors)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(states * self.inverse)
        return found


@torch.no_grad()
def smooth(model: PrefixModel, reference: PrefixModel, batches: Iterable[PackedBatch]) -> None:
    """Even out the inputs of a model's feed-forward networks, in place.

    Args:
        reference: the same model, which is run over `batches` to see how large its channels get.
    """
    largest: dict[int, torch.Tensor] = {}

    def watch(number: int) -> Any:
        def hook(_: torch.nn.Module, args: tuple[torch.Tensor]) -> None:
            seen = args[0].abs().amax(0)
            largest[number] = torch.maximum(seen, largest.get(number, seen))

        return hook

    hooks = [
        cast("Any", layer).intermediate.dense.register_forward_pre_hook(watch(number))
        for number, layer in enumerate(reference.layers)
    ]
    for batch in batches:
        arrays = blocks_of(batch).items()
        reference(**{name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays})
    for hook in hooks:
        hook.remove()
    for number, seen in largest.items():
        network = cast("Any", model.layers[number]).intermediate
        weights = network.dense.weight.abs().amax(0)
        # A channel that was always zero, or is never read, has nothing to even out.
        used = (seen > 0) & (weights > 0)
        factors = torch.where(used, seen**MIGRATION / weights ** (1 - MIGRATION), 1.0)
        network.dense = _Scaled(network.dense, factors)


def quantize(source: Path, target: Path, batches: Sequence[PackedBatch]) -> None:
    """Write a float32 graph with int8 weights, and activations scaled by what `batches` show."""
    graph = onnx.load(source).graph
    constants = {initializer.name for initializer in graph.initializer}
    gathers = [node for node in graph.node if node.op_type == "Gather"]
    quantize_static(
        source,
        target,
        _Calibration(batches),
        quant_format=QuantFormat.QDQ,
        # Products of the layers, and embeddings; the head's and the pooling's are MatMul.
        op_types_to_quantize=["Gemm", "Gather"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[node.name for node in gathers if node.input[0] not in constants],
        extra_options={
            "OpTypesToExcludeOutputQuantization": ["Gemm", "Gather"],
            # Residuals go on in float32; only what a product reads is rounded.
            "DedicatedQDQPair": True,
        },
    )


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Feeds packed batches to onnxruntime's calibration."""

    def __init__(self, batches: Sequence[PackedBatch]) -> None:
        self._feeds = iter(blocks_of(batch) for batch in batches)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._feeds, None)
