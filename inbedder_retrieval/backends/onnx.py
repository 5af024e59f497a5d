"""The ONNX Runtime backend: the exported graph, on the CPU or a provider onnxruntime has.

Mask, pooling and head are inside the graph (see `export.py`); this module only feeds it.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inbedder_retrieval.checkpoint import ONNX_FILE, Checkpoint
from inbedder_retrieval.errors import CheckpointError, InputError
from inbedder_retrieval.packing import PackedBatch

__all__ = ["OnnxBackend", "feeds_of"]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
FINGERPRINT_KEY = "inbedder.fingerprint"


class OnnxBackend:
    """Runs `model.onnx` of a checkpoint."""

    def __init__(
        self, checkpoint: Checkpoint, *, device: str = "cpu", threads: int | None = None
    ) -> None:
        path = checkpoint.folder / ONNX_FILE
        if not path.is_file():
            raise CheckpointError(
                f"{checkpoint.folder} has no {ONNX_FILE}; make it with "
                f"'inbedder export {checkpoint.folder}', or use backend='torch'"
            )
        provider = PROVIDERS.get(device)
        if provider not in onnxruntime.get_available_providers():
            known = [d for d, p in PROVIDERS.items() if p in onnxruntime.get_available_providers()]
            raise InputError(
                f"this onnxruntime has no device {device!r}; it has {', '.join(known)}"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Every batch has a shape of its own, and a memory plan would be kept for each.
        options.enable_mem_pattern = False
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        except Exception as error:
            # onnxruntime raises its own family of exceptions, which share no base but Exception.
            raise CheckpointError(f"{path} cannot be loaded by onnxruntime: {error}") from error
        made_from = self._session.get_modelmeta().custom_metadata_map.get(FINGERPRINT_KEY)
        if made_from != checkpoint.fingerprint:
            raise CheckpointError(
                f"{path} was made from other weights or another recipe (fingerprint {made_from}, "
                f"here {checkpoint.fingerprint}); run 'inbedder export {checkpoint.folder}' again"
            )

    def run(self, batch: PackedBatch) -> NDArray[np.float32]:
        """Return the vectors (B, V, H) of a batch, with the recipe's head, not yet unit length."""
        return cast("NDArray[np.float32]", self._session.run(["vectors"], feeds_of(batch))[0])


def feeds_of(batch: PackedBatch) -> dict[str, NDArray[Any]]:
    """Return a batch as the graph's inputs."""
    return {
        "input_ids": batch.input_ids,
        "position_ids": batch.position_ids,
        "segment_ids": batch.segment_ids,
        "pool_weights": batch.pool_weights,
    }
