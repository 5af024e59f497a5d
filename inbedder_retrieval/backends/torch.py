"""The torch backend, and the packed model that is also what `export.py` turns into ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.checkpoint import WEIGHTS_FILE, Checkpoint
from inbedder_retrieval.errors import CheckpointError, InputError, MissingExtraError
from inbedder_retrieval.packing import PackedBatch

try:
    import torch
    import transformers
    from safetensors import SafetensorError
except ImportError as error:
    raise MissingExtraError("the torch backend", "torch") from error

__all__ = ["PackedModel", "TorchBackend", "load_packed_model"]


class PackedModel(torch.nn.Module):
    """A masked language model over packed rows.

    Args of `forward`: as in `PackedBatch`, as tensors. Returns two tensors (B, V, H): the views'
    vectors, which went through the recipe's head, and the bare states they were made of.
    """

    def __init__(self, model: torch.nn.Module, *, head: bool, question_token_type: int) -> None:
        super().__init__()
        self.model = model
        self.head = head
        self.question_token_type = question_token_type

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        segment_ids: torch.Tensor,
        pool_weights: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        query, key = segment_ids[:, :, None], segment_ids[:, None, :]
        allowed = (key >= 0) & ((key == 0) | (key == query))
        # A float mask is right under every attention implementation; a boolean one is not.
        lowest = torch.finfo(pool_weights.dtype).min
        mask = torch.where(allowed, 0.0, lowest)[:, None]
        last: torch.Tensor = (
            cast("Any", self.model)
            .base_model(
                input_ids=input_ids,
                position_ids=position_ids,
                token_type_ids=(segment_ids > 0).long() * self.question_token_type,
                attention_mask=mask,
            )
            .last_hidden_state
        )
        states = pool_weights @ last
        if not self.head:
            return states, states
        # A view pooled from the text itself is the general view, which takes no head.
        pooled_from = torch.where(pool_weights > 0, segment_ids[:, None, :], 0).amax(-1)
        head = cast("Any", self.model).cls.predictions.transform
        return torch.where(pooled_from[..., None] > 0, head(states), states), states


def load_packed_model(checkpoint: Checkpoint, *, attention: str = "sdpa") -> PackedModel:
    """Load a checkpoint's safetensors as a packed model, in float32, ready for inference.

    Raises:
        CheckpointError: the folder has no safetensors, or is no masked language model with the
            head that the recipe asks for.
    """
    path = checkpoint.folder / WEIGHTS_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{checkpoint.folder} has no {WEIGHTS_FILE}; other formats are not read, since they "
            "can run code when loaded"
        )
    try:
        with _no_progress_bar():
            model, loaded = transformers.AutoModelForMaskedLM.from_pretrained(
                checkpoint.folder,
                dtype=torch.float32,
                attn_implementation=attention,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{checkpoint.folder} cannot be loaded as a masked language model: {error}"
        ) from error
    if missing := sorted(loaded["missing_keys"]):
        raise CheckpointError(
            f"{path} lacks {len(missing)} tensors of {type(model).__name__} ({missing[0]}, ...); "
            "they would be made up at random. Use the whole checkpoint"
        )
    first = _first_position(model)
    if first != checkpoint.recipe.first_position:
        raise CheckpointError(
            f"{type(model).__name__} counts positions from {first} and the recipe of "
            f"{checkpoint.recipe.name} from {checkpoint.recipe.first_position}; "
            f"set first_position to {first}"
        )
    head = checkpoint.recipe.head == "mlm"
    if head and not hasattr(getattr(model, "cls", None), "predictions"):
        raise CheckpointError(
            f"{type(model).__name__} has no language-model head where this package looks for it "
            "(cls.predictions); use a recipe with head 'none'"
        )
    packed = PackedModel(
        model, head=head, question_token_type=checkpoint.recipe.question_token_type
    )
    return packed.eval()


def _first_position(model: torch.nn.Module) -> int:
    """What a model counts positions from: RoBERTa and its kin leave out the padding's row."""
    embeddings = getattr(cast("Any", model).base_model, "embeddings", None)
    padding = getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing on standard error while it loads."""
    logging: Any = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


class TorchBackend:
    """Runs `model.safetensors` of a checkpoint with transformers, in float32."""

    def __init__(
        self, checkpoint: Checkpoint, *, device: str = "cpu", threads: int | None = None
    ) -> None:
        try:
            self._device = torch.device(device)
            self._model = load_packed_model(checkpoint).to(self._device)
        except (RuntimeError, AssertionError) as error:
            # torch raises AssertionError when it was built without the device.
            raise InputError(f"torch cannot use the device {device!r}: {error}") from error
        if threads is not None:
            torch.set_num_threads(threads)

    @torch.inference_mode()
    def run(self, batch: PackedBatch) -> NDArray[np.float32]:
        """Return the vectors (B, V, H) of a batch, with the recipe's head, not yet unit length."""
        arrays = (batch.input_ids, batch.position_ids, batch.segment_ids, batch.pool_weights)
        tensors = [torch.from_numpy(array).to(self._device) for array in arrays]
        vectors, _ = self._model(*tensors)
        return cast("NDArray[np.float32]", vectors.cpu().numpy())
