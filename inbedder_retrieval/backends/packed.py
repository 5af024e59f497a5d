"""The forward path of any transformers model over packed rows.

What differs between architectures is data in the recipe, the three kinds of attention, and where a
masked model keeps the transform of its head. Only the layer that is pooled is kept, and nothing
beyond it is computed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from inbedder_retrieval.checkpoint import WEIGHTS_FILES, Checkpoint
from inbedder_retrieval.errors import CheckpointError, MissingExtraError
from inbedder_retrieval.packing import may_attend
from inbedder_retrieval.recipe import Recipe

try:
    import torch
    import transformers
    from safetensors import SafetensorError
except ImportError as error:
    raise MissingExtraError("the torch backend", "torch") from error

from inbedder_retrieval.backends.pooling import Pooling
from inbedder_retrieval.backends.prefix import Attend, PrefixModel, additive, attend, fits

__all__ = ["PackedModel", "check_layers", "load_packed_model", "load_weights", "no_progress_bar"]

HEADS = {
    "masked": "AutoModelForMaskedLM",
    "causal": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "encoder": "AutoModel",
}


class PackedModel(torch.nn.Module):
    """Any transformers model over packed rows.

    Args of `forward`: as in `PackedBatch`, as tensors. Returns two tensors (B, V, H): the views'
    vectors, which went through the recipe's head, and the bare states they were made of.
    """

    def __init__(self, model: torch.nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.pooling = Pooling(model, recipe)

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        segment_ids: torch.Tensor,
        columns: torch.Tensor,
        pool_weights: torch.Tensor,
        decoder_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        model = cast("Any", self.model)
        if self.recipe.model == "seq2seq":
            mask = (segment_ids >= 0).long()
            encoder, decoder = model.get_encoder(), model.get_decoder()
            wanted = self.recipe.layer if decoder_ids is None else None
            states = _states(encoder, wanted, input_ids=input_ids, attention_mask=mask)
            if decoder_ids is not None:
                states = _states(
                    decoder,
                    self.recipe.layer,
                    input_ids=decoder_ids,
                    encoder_hidden_states=states,
                    encoder_attention_mask=mask,
                    use_cache=False,
                )
        else:
            inputs = self._inputs(input_ids, position_ids, segment_ids)
            states = _states(model.base_model, self.recipe.layer, **inputs)
        # A decoder's states are not the columns of the row; its vectors take no head.
        segments = segment_ids[:, columns] if decoder_ids is None else torch.zeros_like(columns)
        found = self.pooling(states[:, columns], segments.expand(len(states), -1), pool_weights)
        return cast("tuple[torch.Tensor, torch.Tensor]", found)

    def _inputs(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        segment_ids: torch.Tensor,
    ) -> dict[str, Any]:
        attention = self.recipe.attention
        if attention == "joint":
            # As transformers runs any row: its own positions, and padding masked in two axes.
            return {"input_ids": input_ids, "attention_mask": (segment_ids >= 0).long()}
        allowed = may_attend(segment_ids)
        inputs: dict[str, Any] = {"input_ids": input_ids, "position_ids": position_ids}
        if attention == "causal":
            allowed = allowed.tril()
            inputs["use_cache"] = False
        else:
            inputs["token_type_ids"] = (segment_ids > 0).long() * self.recipe.question_token_type
        # A float mask is right under every attention implementation; a boolean one is not.
        dtype = cast("Any", self.model).dtype
        inputs["attention_mask"] = additive(allowed, dtype)[:, None]
        return inputs


def load_packed_model(
    checkpoint: Checkpoint, *, precision: str = "float32", attend: Attend = attend
) -> PackedModel | PrefixModel:
    """Load a checkpoint's safetensors as a packed model, ready for inference.

    Args:
        precision: what the layers run in; the head after them runs in float32.
        attend: how the streams of a `PrefixModel` attend.

    Raises:
        CheckpointError: the folder has no safetensors, lacks tensors, or is no model of the kind
            and with the head that the recipe asks for.
    """
    folder, recipe = checkpoint.folder, checkpoint.recipe
    if not any((folder / name).is_file() for name in WEIGHTS_FILES):
        raise CheckpointError(
            f"{folder} has no {WEIGHTS_FILES[0]}; other formats are not read, since they "
            "can run code when loaded"
        )
    dtype: torch.dtype = getattr(torch, precision)
    # A head keeps its digits; what has none may be too large to be held twice.
    held = torch.float32 if recipe.head == "mlm" else dtype
    model, missing = load_weights(folder, recipe.model, held)
    if missing:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} tensors of {type(model).__name__} ({missing[0]}, ...); "
            "they would be made up at random. Use the whole checkpoint"
        )
    _check_window(model.config, recipe)
    first = _first_position(model)
    if recipe.attention == "prefix" and first != recipe.first_position:
        raise CheckpointError(
            f"{type(model).__name__} counts positions from {first} and the recipe of "
            f"{recipe.name} from {recipe.first_position}; set first_position to {first}"
        )
    check_layers(model, recipe)
    for weight in model.base_model.parameters():
        # Not what is no weight: rotary frequencies lose their positions in bfloat16.
        weight.data = weight.data.to(dtype)
    if fits(model, recipe):
        return PrefixModel(model, recipe, attend).eval()
    return PackedModel(model, recipe).eval()


def load_weights(
    folder: Path, kind: str, dtype: torch.dtype, **settings: Any
) -> tuple[Any, list[str]]:
    """Load a folder's safetensors as a transformers model; no code of the model is ever run.

    Args:
        kind: what a recipe calls its `model`: `masked`, `causal`, `seq2seq` or `encoder`.
        settings: changes to the model's configuration.

    Returns:
        The model, and the names of the tensors that the folder lacks, sorted, without those of a
        pooler: it is never used here, and masked models are published without one.

    Raises:
        CheckpointError: the files are no such model.
    """
    try:
        with no_progress_bar():
            model, loaded = getattr(transformers, HEADS[kind]).from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation="sdpa",
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **settings,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{folder} cannot be loaded as a {kind} model: {error}") from error
    return model, sorted(name for name in loaded["missing_keys"] if "pooler." not in name)


class _Enough(Exception):
    def __init__(self, states: torch.Tensor) -> None:
        super().__init__()
        self.states = states


def _states(body: Any, layer: int | None, **inputs: Any) -> torch.Tensor:
    """Run a stack of layers and return the states (B, S, H) that go into layer `layer`.

    None returns the last states, after the final norm: so does the number of layers, as in
    transformers' `hidden_states`. Nothing beyond the wanted layer is computed.
    """
    layers, caller = _layers(body), threading.get_ident()
    if layer is None or layer == len(layers):
        last: torch.Tensor = body(**inputs).last_hidden_state
        return last

    def stop(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Another thread may be generating with the same layers.
        if threading.get_ident() == caller:
            raise _Enough(args[0] if args else kwargs["hidden_states"])

    hook = layers[layer].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        body(**inputs)
    except _Enough as enough:
        return enough.states
    finally:
        hook.remove()
    raise CheckpointError(f"{type(body).__name__} did not run its layer {layer}")


def _layers(body: torch.nn.Module) -> torch.nn.ModuleList:
    """Find the stack of layers of a transformers body: its outermost list of modules."""
    return next(part for part in body.modules() if isinstance(part, torch.nn.ModuleList))


def check_layers(model: torch.nn.Module, recipe: Recipe) -> None:
    """Raise CheckpointError where a model does not have the layers that its recipe names."""
    if recipe.layer is None and not recipe.reads_from:
        return
    count = len(_layers(cast("Any", model).base_model))
    if recipe.layer is not None and recipe.layer > count:
        raise CheckpointError(
            f"the recipe pools layer {recipe.layer}, and {type(model).__name__} has {count}; "
            f"choose 0 (the embeddings) to {count}"
        )
    if recipe.reads_from and not fits(model, recipe):
        raise CheckpointError(
            f"in {recipe.name} questions read their text from layer {recipe.reads_from} on, and "
            f"{type(model).__name__} is run with one mask for all layers; set reads_from to 0"
        )
    if recipe.reads_from >= count:
        raise CheckpointError(
            f"in {recipe.name} questions read their text from layer {recipe.reads_from} on, and "
            f"{type(model).__name__} has {count}; set reads_from to 0 (all) to {count - 1}"
        )


def _check_window(config: Any, recipe: Recipe) -> None:
    """Raise CheckpointError where packing would open a window that the model closes.

    A mask of one's own replaces the sliding window of a layer, so rows must be shorter than it.
    """
    windows = [getattr(config, "local_attention", None)]
    if getattr(config, "use_sliding_window", True):
        windows.append(getattr(config, "sliding_window", None))
    longest = recipe.max_positions if recipe.attention == "prefix" else recipe.max_tokens
    for window in windows:
        if window is not None and recipe.attention != "joint" and longest > int(window):
            raise CheckpointError(
                f"{config.model_type} looks {window} tokens far and the recipe of {recipe.name} "
                f"packs rows for {longest}; use attention 'joint', or shorter rows"
            )


def _first_position(model: torch.nn.Module) -> int:
    """What a model counts positions from: RoBERTa and its kin leave out the padding's row."""
    embeddings = getattr(cast("Any", model).base_model, "embeddings", None)
    padding = getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing on standard error while it loads."""
    logging: Any = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
