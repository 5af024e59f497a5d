"""Weights: the tensors of a language-model head, found by what they are called.

transformers names the same part differently in each family; this module holds those names, and
reads single tensors from safetensors without loading a model.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from inbedder_retrieval.checkpoint import Checkpoint
from inbedder_retrieval.errors import CheckpointError

__all__ = ["Weights"]

Array = NDArray[np.float32]

INPUT_EMBEDDINGS = (
    "embeddings.word_embeddings.weight",
    "embeddings.tok_embeddings.weight",
    "embed_tokens.weight",
    "wte.weight",
    "shared.weight",
)
OUTPUT_EMBEDDINGS = (
    "lm_head.decoder.weight",
    "cls.predictions.decoder.weight",
    "lm_head.weight",
    "embed_out.weight",
)
OUTPUT_BIAS = ("cls.predictions.bias", "lm_head.bias", "decoder.bias")
TRANSFORM_DENSE = ("cls.predictions.transform.dense", "lm_head.dense", "head.dense")
TRANSFORM_NORM = ("cls.predictions.transform.LayerNorm", "lm_head.layer_norm", "head.norm")
# The norm after the last layer; post-norm encoders have theirs inside it.
LAST_NORM = ("model.norm", "final_norm", "decoder.final_layer_norm", "ln_f", "output.LayerNorm")


class Weights:
    """Single tensors of a checkpoint, as float32.

    Raises:
        CheckpointError: a file cannot be read, or a part is not there.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    @property
    def tied(self) -> bool:
        """Whether the output embeddings are the input embeddings."""
        return self._find(OUTPUT_EMBEDDINGS) is None or bool(
            self._checkpoint.config.get("tie_word_embeddings", True)
        )

    def output_embeddings(self) -> Array:
        """Return the matrix (vocabulary, H) that turns a state into logits."""
        name = self._find(INPUT_EMBEDDINGS if self.tied else OUTPUT_EMBEDDINGS)
        name = name or self._find(OUTPUT_EMBEDDINGS)
        if name is None:
            raise CheckpointError(
                f"{self._checkpoint.folder} has no word embeddings under a name this package "
                f"knows ({', '.join(INPUT_EMBEDDINGS)}), so its vectors cannot be read as words"
            )
        return self._read(name)

    def output_bias(self, size: int) -> Array:
        """Return the bias (vocabulary,) of the logits; zeros where the model has none."""
        name = self._find(OUTPUT_BIAS)
        return np.zeros(size, dtype=np.float32) if name is None else self._read(name)

    def transform(self) -> tuple[Array, Array, Array, Array]:
        """Return weight, bias, gain and offset of a masked model's head."""
        dense, norm = self._part(TRANSFORM_DENSE), self._part(TRANSFORM_NORM)
        if dense is None or norm is None:
            raise CheckpointError(
                f"{self._checkpoint.folder} has no language-model head under a name this package "
                f"knows ({', '.join(TRANSFORM_DENSE)}), so its vectors cannot be read as words"
            )
        return dense[0], dense[1], norm[0], norm[1]

    def norm_after(self, part: str) -> float:
        """Estimate the length of a state from the gain and offset of the norm it came out of.

        Args:
            part: `head`, or `layers` for the last of them.
        """
        found = self._part(TRANSFORM_NORM if part == "head" else LAST_NORM)
        if found is None:
            return float(self._checkpoint.dimension**0.5)
        gain, offset = found
        return float(np.sqrt(np.square(gain).sum() + np.square(offset).sum()))

    def _part(self, names: tuple[str, ...]) -> tuple[Array, Array] | None:
        weight = self._find(tuple(f"{name}.weight" for name in names))
        if weight is None:
            return None
        bias = weight.removesuffix("weight") + "bias"
        gain = self._read(weight)
        # RMSNorm, and ModernBERT, have no bias.
        offset = self._read(bias) if bias in self._files else np.zeros(len(gain), np.float32)
        return gain, offset

    def _find(self, endings: tuple[str, ...]) -> str | None:
        """Return the last tensor, in order of layers, whose name ends in one of these."""
        for ending in endings:
            found = [n for n in self._files if n == ending or n.endswith("." + ending)]
            if found:
                return max(found, key=_by_number)
        return None

    @cached_property
    def _files(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in self._checkpoint.weights:
            with self._opened(path) as tensors:
                found |= dict.fromkeys(tensors.keys(), path)
        return found

    def _read(self, name: str) -> Array:
        path = self._files[name]
        with self._opened(path) as tensors:
            if tensors.get_slice(name).get_dtype() == "BF16":
                return _read_bfloat16(path, name)
            values: Array = tensors.get_tensor(name).astype(np.float32)
            return values

    def _opened(self, path: Path) -> safe_open:
        try:
            return safe_open(path, framework="np")
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{path} cannot be read, and answer words need its word embeddings: {error}"
            ) from error


def _read_bfloat16(path: Path, name: str) -> Array:
    """Read a tensor that NumPy has no type for: the upper halves of float32 numbers.

    A safetensors file is the length of its header (8 bytes), the header as JSON, and the tensors.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))[name]
        start, stop = entry["data_offsets"]
        file.seek(8 + length + start)
        halves = np.frombuffer(file.read(stop - start), "<u2").astype(np.uint32)
    return (halves << 16).view(np.float32).reshape(entry["shape"])


def _by_number(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split(".") if part.isdigit())
