"""The contenders beside this package, each run as its own users run it.

A peer is a function that loads a checkpoint and returns what embeds texts under views, a prompt
for each text and question, since neither knows of several questions to a text. Both read the
tokenizer and the weights of the checkpoint's folder with transformers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.checkpoint import Checkpoint
from inbedder_retrieval.errors import InputError, MissingExtraError
from inbedder_retrieval.views import Views

__all__ = [
    "PEERS",
    "Encode",
    "Peer",
    "instructed_prompts",
    "original",
    "original_prompts",
    "sentence_transformers",
]

# Texts (N) under views (V), so many prompts a batch: vectors (N, V, H).
Encode: TypeAlias = Callable[[Sequence[str], Views, int], NDArray[np.float32]]


@dataclass(frozen=True)
class Peer:
    """A contender, and how it is run on a kind of device (`cpu` or `cuda`).

    Attributes:
        load: takes a checkpoint, a device and a precision, and returns what embeds. It raises
            MissingExtraError where packages are missing, and InputError where it has no way to
            run this kind of model.
        prompts: the strings it gives to its tokenizer, text by text, to count their tokens.
        precision: what its users have by default.
        batches: batch sizes to choose from; the fastest is taken.
        most: how many prompts are measured at most, since it may be slow.
    """

    name: str
    load: Callable[[Checkpoint, str, str], Encode]
    prompts: Callable[[Checkpoint, Sequence[str], Views], list[str]]
    precision: Mapping[str, str]
    batches: Mapping[str, tuple[int, ...]]
    most: Mapping[str, int]


def original(checkpoint: Checkpoint, device: str, precision: str) -> Encode:
    """Load a checkpoint as InBedder's own encoders run one (Peng et al., lm_encoders_hf).

    A prompt string for each text and question, the longest first, padded batches, the states of
    all layers and the scores of all words, the likeliest word of every token decoded, and loops
    over layers and rows that take three means each: of the prompt, of the answer, of both. For a
    causal model the answer is the prompt's last token, which theirs comes to by generating.

    Returns:
        What gives the mean over the answer slots in the last layer, not of unit length. A text
        that holds a mask token counts it as a slot, as theirs does.

    Raises:
        InputError: the model is neither a masked nor a causal language model.
        MissingExtraError: torch or transformers is not installed.
    """
    kind = checkpoint.recipe.model
    if kind not in ("masked", "causal"):
        raise InputError(f"the original's loop reads masked and causal models, not {kind} ones")
    torch, transformers = _torch()
    heads = {"masked": "AutoModelForMaskedLM", "causal": "AutoModelForCausalLM"}
    with _quiet(transformers):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            checkpoint.folder,
            local_files_only=True,
            padding_side="left" if kind == "causal" else "right",
            truncation_side="left",
        )
        model = getattr(transformers, heads[kind]).from_pretrained(
            checkpoint.folder,
            dtype=getattr(torch, precision),
            use_safetensors=True,
            local_files_only=True,
        )
    model = model.to(device).eval()
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    longest = _longest(checkpoint)

    def encode(texts: Sequence[str], views: Views, batch: int) -> NDArray[np.float32]:
        prompts = original_prompts(checkpoint, texts, views)
        order = sorted(range(len(prompts)), key=lambda k: -len(prompts[k]))
        found: list[Any] = []
        with torch.inference_mode():
            for start in range(0, len(order), batch):
                tokens = tokenizer(
                    [prompts[k] for k in order[start : start + batch]],
                    padding=True,
                    truncation=True,
                    max_length=longest,
                    return_tensors="pt",
                ).to(device)
                tokens.pop("token_type_ids", None)
                output = model(**tokens, output_hidden_states=True)
                likeliest = output.logits.argmax(dim=-1)
                tokenizer.batch_decode(likeliest, skip_special_tokens=True)
                means = _means(torch, tokenizer, tokens, output.hidden_states, kind)
                found.append(means["answer", len(output.hidden_states) - 1])
            vectors = torch.cat(found).float().numpy()
        sorted_back = np.empty_like(vectors)
        sorted_back[order] = vectors
        return cast("NDArray[np.float32]", sorted_back.reshape(len(texts), len(views), -1))

    return encode


def original_prompts(checkpoint: Checkpoint, texts: Sequence[str], views: Views) -> list[str]:
    """Write the prompts as the original does: text, question, and mask tokens as text."""
    recipe = checkpoint.recipe
    template = recipe.prompt or "{text} {question}"
    slots = (recipe.row_template or recipe.question_template).count(recipe.answer_token or "")
    masks = (recipe.answer_token or "") * slots
    before, after = template.split("{text}")
    return [
        before + text + after.replace("{question}", view.instruction or "") + masks
        for text in texts
        for view in views
    ]


def sentence_transformers(checkpoint: Checkpoint, device: str, precision: str) -> Encode:
    """Load a checkpoint in sentence-transformers: its Transformer, Pooling and Normalize modules.

    Prompts are the question and then the text, the way instructions are given there. Pooled is
    the mean over all tokens, and the last token for a causal model.

    Returns:
        What gives unit vectors.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
    """
    torch, transformers = _torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from sentence_transformers import SentenceTransformer

            modules = _modules()
    except ImportError as error:
        raise MissingExtraError("the comparison with sentence-transformers", "bench") from error
    # Weights may be stored in float16, which is slow on a CPU: the precision is asked for.
    with _quiet(transformers):
        given = {
            "dtype": getattr(torch, precision),
            "use_safetensors": True,
            "local_files_only": True,
        }
        # Before 6 they were called otherwise.
        known = signature(modules.Transformer.__init__).parameters
        name = "model_kwargs" if "model_kwargs" in known else "model_args"
        words = modules.Transformer(
            str(checkpoint.folder), max_seq_length=_longest(checkpoint), **{name: given}
        )
    kind = "lasttoken" if checkpoint.recipe.model == "causal" else "mean"
    pooling = modules.Pooling(checkpoint.dimension, pooling_mode=kind)
    model = SentenceTransformer(modules=[words, pooling, modules.Normalize()], device=device)
    model.eval()
    if model.tokenizer.pad_token_id is None:
        model.tokenizer.pad_token = model.tokenizer.eos_token

    def encode(texts: Sequence[str], views: Views, batch: int) -> NDArray[np.float32]:
        prompts = instructed_prompts(checkpoint, texts, views)
        vectors: Any = model.encode(prompts, batch_size=batch, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), len(views), -1)

    return encode


def instructed_prompts(checkpoint: Checkpoint, texts: Sequence[str], views: Views) -> list[str]:
    """Write the prompts of sentence-transformers: the question, then the text."""
    return [f"{view.instruction or ''} {text}".strip() for text in texts for view in views]


PEERS = (
    Peer(
        name="the original's loop",
        load=original,
        prompts=original_prompts,
        precision={"cpu": "float32", "cuda": "float32"},
        # The first is its default.
        batches={"cpu": (4, 32), "cuda": (4, 32, 128)},
        most={"cpu": 128, "cuda": 2048},
    ),
    Peer(
        name="sentence-transformers",
        load=sentence_transformers,
        prompts=instructed_prompts,
        precision={"cpu": "float32", "cuda": "float16"},
        batches={"cpu": (16, 32, 64), "cuda": (32, 64, 128, 256, 512)},
        most={"cpu": 512, "cuda": 8192},
    ),
)


def _means(
    torch: Any, tokenizer: Any, tokens: Any, layers: Sequence[Any], kind: str
) -> dict[tuple[str, int], Any]:
    """Take the means of every layer row by row, as the original does."""
    means: dict[tuple[str, int], Any] = {}
    closing = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else -1
    for number, states in enumerate(layers):
        parts: dict[str, list[Any]] = {"prompt": [], "answer": [], "all": []}
        for row, ids in zip(states, tokens["input_ids"], strict=True):
            if kind == "masked":
                real = ids != tokenizer.pad_token_id
                answer = ids == tokenizer.mask_token_id
                prompt = real & ~answer & (ids != closing)
            else:
                real = tokens["attention_mask"][len(parts["all"])].bool()
                answer = torch.zeros_like(real)
                answer[-1] = True
                prompt = real & ~answer
            for name, places in (("prompt", prompt), ("answer", answer), ("all", real)):
                parts[name].append(row[places].mean(dim=0).cpu())
        means |= {(name, number): torch.stack(rows) for name, rows in parts.items()}
    return means


def _longest(checkpoint: Checkpoint) -> int:
    recipe = checkpoint.recipe
    return recipe.max_positions if recipe.attention == "prefix" else recipe.max_tokens


def _modules() -> Any:
    """Import the modules of sentence-transformers from where its version has them."""
    try:
        return import_module("sentence_transformers.sentence_transformer.modules")
    except ModuleNotFoundError:
        # Before 6; there the names are the same.
        return import_module("sentence_transformers.models")


def _torch() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError("a comparison with other libraries", "bench") from error
    return torch, transformers


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep transformers from drawing bars and naming unused heads while it loads."""
    logging = transformers.utils.logging
    bar, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
