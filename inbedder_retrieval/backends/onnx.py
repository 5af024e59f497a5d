"""The ONNX Runtime backend: the exported graph, on the CPU or a provider onnxruntime has.

Mask, pooling and head are inside the graph (see `export.py`); this module only feeds it.
"""

from __future__ import annotations

import os
from typing import cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inbedder_retrieval.backends import Options, Runtime
from inbedder_retrieval.checkpoint import ONNX_FILES, Checkpoint
from inbedder_retrieval.errors import CheckpointError, InputError
from inbedder_retrieval.packing import BLOCKS, PackedBatch, blocks_of

__all__ = ["OnnxBackend"]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# onnxruntime's fused residual and normalisation takes four times as long as the two apart.
SLOWER = ["SkipLayerNormFusion"]
# Measured on two cores: a batch that stays in a core's cache is faster than a larger one.
TOKENS, TEXTS = 512, 512
FINGERPRINT_KEY, PRECISION_KEY = "inbedder.fingerprint", "inbedder.precision"


class OnnxBackend:
    """Runs a checkpoint's exported graph: `model.onnx`, or that of the precision asked for.

    An accelerator takes the float16 one where there is one: it has no int8 products of its own.
    """

    def __init__(self, checkpoint: Checkpoint, options: Options | None = None) -> None:
        options = options or Options()
        device = options.device
        if options.compiled:
            raise InputError("the onnx backend compiles nothing; use backend='torch' for it")
        wanted = options.precision or ("int8" if device == "cpu" else "float16")
        path = checkpoint.graphs.get(wanted, checkpoint.folder / ONNX_FILES["int8"])
        how = f"'inbedder export {checkpoint.folder}"
        how += "'" if options.precision in (None, "int8") else f" --precision {wanted}'"
        if not path.is_file():
            raise CheckpointError(
                f"{checkpoint.folder} has no {path.name}; make it with {how}, or use "
                "backend='torch'"
            )
        provider = PROVIDERS.get(device)
        if provider not in onnxruntime.get_available_providers():
            known = [d for d, p in PROVIDERS.items() if p in onnxruntime.get_available_providers()]
            raise InputError(
                f"this onnxruntime has no device {device!r}; it has {', '.join(known)}"
            )
        session = onnxruntime.SessionOptions()
        session.log_severity_level = 3
        # Every batch has a shape of its own, and a memory plan would be kept for each.
        session.enable_mem_pattern = False
        # A batch is run by one thread, and as many batches at a time as there are threads: they
        # need not wait for each other, and a core keeps its batch in its own cache.
        session.intra_op_num_threads = 1
        threads = options.threads or available_threads()
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), session, providers=[provider], disabled_optimizers=SLOWER
            )
        except Exception as error:
            # onnxruntime raises its own family of exceptions, which share no base but Exception.
            raise CheckpointError(f"{path} cannot be loaded by onnxruntime: {error}") from error
        about = self._session.get_modelmeta().custom_metadata_map
        stored = about.get(PRECISION_KEY, "int8")
        if options.precision not in (None, stored):
            raise InputError(
                f"{path} is {stored}, and {wanted} was asked for; "
                + (f"make such a file with {how}, or " if wanted in ONNX_FILES else "")
                + "use backend='torch'"
            )
        self.runtime = Runtime(
            backend="onnx",
            device=device,
            precision=stored,
            threads=threads,
            workers=threads if device == "cpu" else 1,
            token_budget=TOKENS,
            batch_size=TEXTS,
        )
        made_from = about.get(FINGERPRINT_KEY)
        if made_from != checkpoint.fingerprint:
            raise CheckpointError(
                f"{path} was made from other weights or another recipe (fingerprint {made_from}, "
                f"here {checkpoint.fingerprint}); run 'inbedder export {checkpoint.folder}' again"
            )
        other = set(BLOCKS) ^ {given.name for given in self._session.get_inputs()}
        if other:
            raise CheckpointError(
                f"{path} was made by another version of this package, which did otherwise with "
                f"{', '.join(sorted(other))}; run 'inbedder export {checkpoint.folder}' again"
            )

    def run(self, batch: PackedBatch) -> NDArray[np.float32]:
        """Return the vectors (B, V, H) of a batch, with the recipe's head, not yet unit length."""
        # Bound to the device, so that on an accelerator only what is asked for comes back.
        binding = self._session.io_binding()
        # Held until the run is over: older versions of onnxruntime hold no array they are given.
        given = {name: np.ascontiguousarray(array) for name, array in blocks_of(batch).items()}
        for name, array in given.items():
            sent = onnxruntime.OrtValue.ortvalue_from_numpy(array, self.runtime.device)
            binding.bind_ortvalue_input(name, sent)
        binding.bind_output("vectors", self.runtime.device)
        self._session.run_with_iobinding(binding)
        return cast("NDArray[np.float32]", binding.get_outputs()[0].numpy())


def available_threads() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
