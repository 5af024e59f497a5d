"""Backends run a packed batch. Each is one class with one method.

`load_backend` imports the one that is asked for, so that neither torch nor onnxruntime is loaded
before it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.checkpoint import Checkpoint
from inbedder_retrieval.errors import InputError
from inbedder_retrieval.packing import PackedBatch

__all__ = ["Backend", "Generator", "load_backend"]


class Backend(Protocol):
    """What runs packed batches."""

    def run(self, batch: PackedBatch) -> NDArray[np.float32]:
        """Return the vectors (B, V, H) of a batch, with the recipe's head, not yet unit length."""
        ...


@runtime_checkable
class Generator(Protocol):
    """What lets a model go on from a prompt."""

    @property
    def decoder_start(self) -> int | None:
        """The token that a decoder begins with; None where there is no decoder of its own."""
        ...

    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, *, seed: int | None = None
    ) -> list[list[int]]:
        """Return at most `new_tokens` new tokens for each prompt, the closing one included."""
        ...


def load_backend(
    name: str, checkpoint: Checkpoint, *, device: str = "cpu", threads: int | None = None
) -> Backend:
    """Load a checkpoint on `onnx` or `torch`.

    Args:
        device: `cpu`, or what the backend calls an accelerator, such as `cuda`.
        threads: CPU threads for one batch; None lets the backend choose.

    Raises:
        InputError: no such backend, or fewer than one thread.
        MissingExtraError: the backend's packages are not installed.
        CheckpointError: the checkpoint has no file for this backend, or a broken one.
    """
    if threads is not None and threads < 1:
        raise InputError(
            f"threads is {threads}; give at least 1, or None to let the backend choose"
        )
    if name == "onnx":
        from inbedder_retrieval.backends.onnx import OnnxBackend

        return OnnxBackend(checkpoint, device=device, threads=threads)
    if name == "torch":
        from inbedder_retrieval.backends.torch import TorchBackend

        return TorchBackend(checkpoint, device=device, threads=threads)
    raise InputError(f"there is no backend {name!r}; choose 'onnx' or 'torch'")
