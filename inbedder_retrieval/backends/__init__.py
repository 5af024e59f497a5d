"""Backends run a packed batch. Each is one class with one method.

`load_backend` imports the one that is asked for, so that neither torch nor onnxruntime is loaded
before it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.checkpoint import Checkpoint
from inbedder_retrieval.errors import InputError
from inbedder_retrieval.packing import PackedBatch

__all__ = ["Backend", "Generator", "Options", "Runtime", "load_backend"]


@dataclass(frozen=True)
class Runtime:
    """What a model runs on, and the batches it likes.

    Attributes:
        threads: CPU threads at work at a time.
        workers: how many batches may be run at a time, each by a thread of its own.
        token_budget: tokens in one batch, padding included.
        batch_size: texts that are sorted by length together.
    """

    backend: str
    device: str
    precision: str
    threads: int
    workers: int
    token_budget: int
    batch_size: int

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' * (self.threads != 1)}"
        on_cpu = threads if self.device == "cpu" else ""
        return f"{self.backend} {self.precision} on {self.device}{on_cpu}"


@dataclass(frozen=True)
class Options:
    """What a caller wants of a backend.

    Attributes:
        device: `cpu`, or what the backend calls an accelerator, such as `cuda`; several, parted
            by commas, get a process each.
        precision: what the layers run in; None takes the backend's own for the device.
        threads: CPU threads; None takes as many as this process may use.
        compiled: whether torch compiles the model.
    """

    device: str = "cpu"
    precision: str | None = None
    threads: int | None = None
    compiled: bool = False


class Backend(Protocol):
    """What runs packed batches."""

    @property
    def runtime(self) -> Runtime:
        """What it runs on."""
        ...

    def run(self, batch: PackedBatch) -> NDArray[np.float32]:
        """Return the vectors (B, V, H) of a batch, with the recipe's head, not yet unit length.

        May be called by `runtime.workers` threads at a time.
        """
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
    name: str | None, checkpoint: Checkpoint, options: Options | None = None
) -> Backend:
    """Load a checkpoint on `onnx` or `torch`.

    Args:
        name: None takes `onnx` on a CPU, where the checkpoint has a graph of the precision.

    Raises:
        InputError: no such backend, device or precision, or fewer than one thread.
        MissingExtraError: the backend's packages are not installed.
        CheckpointError: the checkpoint has no file for this backend, or a broken one.
    """
    options = options or Options()
    threads, devices = options.threads, options.device.split(",")
    if threads is not None and (type(threads) is not int or threads < 1):
        raise InputError(
            f"threads is {threads!r}; give at least 1, or None to let the backend choose"
        )
    if name is None:
        fits = set(devices) == {"cpu"} and (options.precision or "int8") in checkpoint.graphs
        name = "onnx" if fits and not options.compiled else "torch"
    if name not in ("onnx", "torch"):
        raise InputError(f"there is no backend {name!r}; choose 'onnx' or 'torch'")
    if len(devices) > 1:
        from inbedder_retrieval.backends.processes import ProcessBackend

        return ProcessBackend(name, checkpoint, options)
    if name == "onnx":
        from inbedder_retrieval.backends.onnx import OnnxBackend

        return OnnxBackend(checkpoint, options)
    from inbedder_retrieval.backends.torch import TorchBackend

    return TorchBackend(checkpoint, options)
