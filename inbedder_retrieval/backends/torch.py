"""The torch backend, and the packed model that is also what `export.py` turns into ONNX.

Any architecture of transformers runs here: what differs between them is data in the recipe, the
three kinds of attention, and where a masked model keeps the transform of its head. Only pooled
vectors leave the device, and only the layer that is pooled is kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.backends import Options, Runtime
from inbedder_retrieval.checkpoint import WEIGHTS_FILES, Checkpoint
from inbedder_retrieval.errors import CheckpointError, InputError, MissingExtraError
from inbedder_retrieval.packing import PackedBatch, blocks_of, may_attend
from inbedder_retrieval.recipe import Recipe

try:
    import torch
    import transformers
    from safetensors import SafetensorError
except ImportError as error:
    raise MissingExtraError("the torch backend", "torch") from error

from inbedder_retrieval.backends.pooling import Pooling
from inbedder_retrieval.backends.prefix import Attend, PrefixModel, additive, attend, fits

__all__ = ["HEADS", "PackedModel", "TorchBackend", "load_packed_model", "no_progress_bar"]

HEADS = {
    "masked": "AutoModelForMaskedLM",
    "causal": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "encoder": "AutoModel",
}
PRECISIONS = ("float32", "float16", "bfloat16")
GENERATE_ROWS = 16
CPU_TOKENS, CPU_TEXTS = 4096, 512
# Two batches in flight: one is computed while the other is packed, sent or fetched.
GPU_TOKENS, GPU_TEXTS, GPU_WORKERS = 65_536, 16_384, 2


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
    try:
        with no_progress_bar():
            model, loaded = getattr(transformers, HEADS[recipe.model]).from_pretrained(
                folder,
                # A head keeps its digits; what has none may be too large to be held twice.
                dtype=torch.float32 if recipe.head == "mlm" else dtype,
                attn_implementation="sdpa",
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} cannot be loaded as a {recipe.model} model: {error}"
        ) from error
    # A pooler is never used here, and masked models are published without one.
    if missing := sorted(name for name in loaded["missing_keys"] if "pooler." not in name):
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
    if recipe.layer is not None:
        _check_layer(model, recipe.layer)
    model.base_model.to(dtype)
    if fits(model, recipe):
        return PrefixModel(model, recipe, attend).eval()
    return PackedModel(model, recipe).eval()


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


def _check_layer(model: torch.nn.Module, layer: int) -> None:
    body = cast("Any", model).base_model
    count = len(_layers(body))
    if layer > count:
        raise CheckpointError(
            f"the recipe pools layer {layer}, and {type(model).__name__} has {count}; "
            f"choose 0 (the embeddings) to {count}"
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
