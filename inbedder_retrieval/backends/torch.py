"""The torch backend: a checkpoint's safetensors, run by transformers on the CPU or a GPU.

Only pooled vectors leave the device.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.backends import Options, Runtime
from inbedder_retrieval.checkpoint import Checkpoint
from inbedder_retrieval.errors import InputError, MissingExtraError
from inbedder_retrieval.packing import PackedBatch, blocks_of

try:
    import torch
except ImportError as error:
    raise MissingExtraError("the torch backend", "torch") from error

from inbedder_retrieval.backends.packed import load_packed_model
from inbedder_retrieval.backends.prefix import PrefixModel

__all__ = ["TorchBackend"]

PRECISIONS = ("float32", "float16", "bfloat16")
GENERATE_ROWS = 16
CPU_TOKENS, CPU_TEXTS = 4096, 512
# Two batches in flight: one is computed while the other is packed, sent or fetched.
GPU_TOKENS, GPU_TEXTS, GPU_WORKERS = 65_536, 16_384, 2


class TorchBackend:
    """Runs a checkpoint's safetensors with transformers.

    On CUDA every calling thread has a stream of its own, so that one batch is sent and fetched
    while another is computed.
    """

    def __init__(self, checkpoint: Checkpoint, options: Options | None = None) -> None:
        options = options or Options()
        device = options.device
        try:
            self._device = torch.device(device)
            # What cannot be used fails here, and not at the first text.
            torch.zeros(1, device=self._device)
        except (RuntimeError, AssertionError) as error:
            # torch raises AssertionError when it was built without the device.
            raise InputError(f"torch cannot use the device {device!r}: {error}") from error
        on_gpu = self._device.type == "cuda"
        # float16 has three more bits than bfloat16 where the range is known to be small, as it is
        # in encoders (cosine to float32 0.999998 against 0.9997 at least); decoders overflow it.
        short = "float16" if checkpoint.recipe.model in ("masked", "encoder") else "bfloat16"
        precision = options.precision or (short if on_gpu else "float32")
        if precision not in PRECISIONS:
            raise InputError(
                f"the torch backend has no precision {precision!r}; choose {', '.join(PRECISIONS)}"
            )
        self._recipe = checkpoint.recipe
        self._model = load_packed_model(checkpoint, precision=precision).to(self._device)
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        # One compilation for all shapes: a batch seldom has that of another.
        self._forward = (
            torch.compile(self._model, dynamic=True) if options.compiled else self._model
        )
        self._streams = threading.local()
        self.runtime = Runtime(
            backend="torch",
            device=device,
            precision=precision,
            threads=torch.get_num_threads(),
            workers=GPU_WORKERS if on_gpu else 1,
            token_budget=GPU_TOKENS if on_gpu else CPU_TOKENS,
            batch_size=GPU_TEXTS if on_gpu else CPU_TEXTS,
        )

    @property
    def decoder_start(self) -> int | None:
        """The token that a decoder begins with; None where there is no decoder of its own."""
        found = getattr(self._language_model.config, "decoder_start_token_id", None)
        return None if found is None else int(found)

    def run(self, batch: PackedBatch) -> NDArray[np.float32]:
        """Return the vectors (B, V, H) of a batch, with the recipe's head, not yet unit length."""
        tensors = self._tensors(batch)
        with torch.inference_mode():
            if self._device.type == "cuda":
                return self._run_on_stream(tensors)
            vectors, _ = self._forward(**{k: t.to(self._device) for k, t in tensors.items()})
            return cast("NDArray[np.float32]", vectors.cpu().numpy())

    @torch.inference_mode()
    def device_seconds(self, batches: Sequence[PackedBatch]) -> float:
        """Return how long the model takes for batches that are on the device already.

        What a benchmark holds the whole way from texts to vectors against.
        """
        sent = [
            {name: tensor.to(self._device) for name, tensor in self._tensors(batch).items()}
            for batch in batches
        ]
        seconds = 0.0
        for _ in range(2):  # The first time kernels are chosen.
            self._synchronize()
            start = time.perf_counter()
            for tensors in sent:
                self._forward(**tensors)
            self._synchronize()
            seconds = time.perf_counter() - start
        return seconds

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _tensors(self, batch: PackedBatch) -> dict[str, torch.Tensor]:
        """Return a batch as what the model's forward takes, by name."""
        if isinstance(self._model, PrefixModel):
            arrays = blocks_of(batch)
        else:
            names = ["input_ids", "position_ids", "segment_ids", "columns", "pool_weights"]
            arrays = {name: getattr(batch, name) for name in names}
            if batch.decoder_ids is not None:
                arrays["decoder_ids"] = batch.decoder_ids
        return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}

    def _run_on_stream(self, tensors: dict[str, torch.Tensor]) -> NDArray[np.float32]:
        """Send, run and fetch on the calling thread's stream, from and to pinned memory."""
        if not hasattr(self._streams, "own"):
            # The weights were sent on another stream.
            torch.cuda.synchronize(self._device)
            self._streams.own = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream: torch.cuda.Stream = self._streams.own
        with torch.cuda.stream(stream):
            sent = {
                name: tensor.pin_memory().to(self._device, non_blocking=True)
                for name, tensor in tensors.items()
            }
            vectors, _ = self._forward(**sent)
            fetched = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
            fetched.copy_(vectors, non_blocking=True)
            # Other threads go on while this one waits.
            stream.synchronize()
        return cast("NDArray[np.float32]", fetched.numpy())

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, *, seed: int | None = None
    ) -> list[list[int]]:
        """Let the model go on from prompts, for at most `new_tokens` tokens each.

        Args:
            seed: None takes the likeliest token each time; a number samples with it, as the
                InBedder authors did (temperature 0.6, top p 0.9).

        Returns:
            For each prompt the new tokens, up to and including the closing one.
        """
        model, causal = self._language_model, self._recipe.model == "causal"
        closing = model.generation_config.eos_token_id
        closings = set(closing) if isinstance(closing, list) else {closing}
        sampling: dict[str, Any] = {"do_sample": False}
        if seed is not None:
            sampling = {"do_sample": True, "temperature": 0.6, "top_p": 0.9}
        order = sorted(range(len(prompts)), key=lambda k: len(prompts[k]))
        found: list[list[int]] = [[] for _ in prompts]
        for start in range(0, len(order), GENERATE_ROWS):
            rows = order[start : start + GENERATE_ROWS]
            width = max(len(prompts[row]) for row in rows)
            ids = torch.zeros(len(rows), width, dtype=torch.long)
            mask = torch.zeros_like(ids)
            for number, row in enumerate(rows):
                length = len(prompts[row])
                # What a decoder goes on from must stand at the end of its row.
                left = width - length if causal else 0
                ids[number, left : left + length] = torch.tensor(list(prompts[row]))
                mask[number, left : left + length] = 1
            with torch.random.fork_rng():
                torch.manual_seed(seed or 0)
                grown = model.generate(
                    input_ids=ids.to(self._device),
                    attention_mask=mask.to(self._device),
                    max_new_tokens=new_tokens,
                    num_beams=1,
                    pad_token_id=self._pad(model),
                    **sampling,
                ).tolist()
            skip = width if causal else 1
            for row, tokens in zip(rows, grown, strict=True):
                for token in tokens[skip:]:
                    found[row].append(token)
                    if token in closings:
                        break
        return found

    @property
    def _language_model(self) -> Any:
        """The transformers model, which generates; a `PrefixModel` never has to."""
        return self._model.model

    @staticmethod
    def _pad(model: Any) -> int:
        for name in ("pad_token_id", "eos_token_id"):
            found = getattr(model.generation_config, name, None)
            found = found[0] if isinstance(found, list) else found
            if found is not None:
                return int(found)
        return 0
