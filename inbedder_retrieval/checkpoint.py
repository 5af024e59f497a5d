"""Checkpoint: a folder with a recipe, a tokenizer and weights, and how its name is resolved.

Only JSON, safetensors and ONNX files are ever read or fetched: nothing in a checkpoint is code.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer

from inbedder_retrieval.errors import CheckpointError, MissingExtraError
from inbedder_retrieval.recipe import RECIPE_FILE, Recipe
from inbedder_retrieval.recipes import PUBLISHED, derive_recipe

__all__ = ["DEFAULT_MODEL", "PACKAGED_MODELS", "Checkpoint", "find_checkpoint", "weights_digest"]

DEFAULT_MODEL = "inbedder-minilm"
PACKAGED_MODELS = Path(__file__).parent / "models"
# One file, or the index of several.
WEIGHTS_FILES = ("model.safetensors", "model.safetensors.index.json")
# Exported graphs by what their layers run in; the first is the usual one.
ONNX_FILES = {
    "int8": "model.onnx",
    "float16": "model_float16.onnx",
    "float32": "model_float32.onnx",
}
# What a tokenizer can be made of where there is no tokenizer.json.
VOCABULARIES = ("vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")
# Enough of a file to tell two sets of weights apart, and 8 MiB to read whatever its size.
SAMPLES, SAMPLE_BYTES = 128, 65_536
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's folder, recipe and model configuration.

    Attributes:
        name: what finds it again: a packaged model's name, an absolute path, or a hub name.
        fingerprint: 16 hexadecimal digits of the weights and of what the recipe does with them.
            Equal fingerprints mean vectors that may be compared.
    """

    name: str
    folder: Path
    recipe: Recipe
    config: dict[str, Any]
    fingerprint: str

    @property
    def dimension(self) -> int:
        return int(self.config["hidden_size"])

    def tokenizer(self) -> Tokenizer:
        """Load the tokenizer, without the padding and truncation its file may ask for.

        Raises:
            CheckpointError: there is none, or one larger than the model's embeddings.
            MissingExtraError: it has to be made of older files, and transformers is not installed.
        """
        return _tokenizer(self.folder, int(self.config["vocab_size"]))

    @property
    def graphs(self) -> dict[str, Path]:
        """The exported graphs that are there, by precision."""
        named = {precision: self.folder / name for precision, name in ONNX_FILES.items()}
        return {precision: path for precision, path in named.items() if path.is_file()}

    @property
    def weights(self) -> list[Path]:
        """The safetensors files, in order."""
        return sorted(self.folder.glob("*.safetensors"))


def find_checkpoint(name: str | Path, recipe: Recipe | None = None) -> Checkpoint:
    """Find a checkpoint: a packaged model's name, a folder, or a name on the Hugging Face hub.

    Its recipe is the one given, or its own `inbedder.json`, or the published one of that name, or
    derived from its architecture.

    Raises:
        CheckpointError: there is none, or its files do not fit each other.
    """
    folder = _resolve(name)
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / 'config.json'} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder / 'config.json'} holds no object; it must be a model's")
    # T5 says d_model, and multimodal models keep the text model's numbers apart.
    config = config | (config.get("text_config") or {})
    config.setdefault("hidden_size", config.get("d_model"))
    for key in ("hidden_size", "vocab_size"):
        if config.get(key) is None:
            raise CheckpointError(f"{folder / 'config.json'} does not say {key}")
    recipe = recipe or _recipe(str(name), folder, config)
    _check_tables(recipe, config)
    local = folder.parent != PACKAGED_MODELS and Path(name).is_dir()
    known_as = str(folder.resolve()) if local else str(name)
    return Checkpoint(known_as, folder, recipe, config, _fingerprint(folder, recipe))


def _recipe(name: str, folder: Path, config: dict[str, Any]) -> Recipe:
    """Read a checkpoint's own recipe, or take the published one, or derive one."""
    if (folder / RECIPE_FILE).is_file():
        return Recipe.load(folder)
    if name in PUBLISHED:
        return PUBLISHED[name]
    return derive_recipe(name, config, _tokenizer(folder, int(config["vocab_size"])))


def _check_tables(recipe: Recipe, config: dict[str, Any]) -> None:
    """Raise CheckpointError where a recipe asks for rows that the model's tables do not have."""
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    wanted = recipe.first_position + (
        recipe.max_positions if recipe.attention == "prefix" else recipe.max_tokens
    )
    if positions is not None and wanted > int(positions):
        raise CheckpointError(
            f"the recipe of {recipe.name} needs {wanted} positions and the model has {positions}; "
            "lower max_positions or max_tokens"
        )
    types = config.get("type_vocab_size")
    if recipe.attention == "prefix" and types and recipe.question_token_type >= int(types):
        raise CheckpointError(
            f"the recipe of {recipe.name} has the question_token_type "
            f"{recipe.question_token_type} and the model has {types} types; use a lower one"
        )


def _tokenizer(folder: Path, vocabulary: int) -> Tokenizer:
    path = folder / "tokenizer.json"
    if path.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            # The Rust side raises a bare Exception.
            raise CheckpointError(f"{path} cannot be read as a tokenizer: {error}") from error
    else:
        tokenizer = _converted_tokenizer(folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if tokenizer.get_vocab_size() > vocabulary:
        raise CheckpointError(
            f"the tokenizer of {folder} has {tokenizer.get_vocab_size()} tokens and the model has "
            f"embeddings for {vocabulary}; use the tokenizer the model was trained with"
        )
    return tokenizer


def _converted_tokenizer(folder: Path) -> Tokenizer:
    """Make a tokenizer of the older files (vocab and merges) that some checkpoints come with."""
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise CheckpointError(
            f"{folder} has no tokenizer.json, nor {' or '.join(VOCABULARIES)}; put the model's "
            "tokenizer beside its weights"
        )
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError(f"the tokenizer of {folder}", "torch") from error
    try:
        converted: Any = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        return cast("Tokenizer", converted.backend_tokenizer)
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise CheckpointError(
            f"the tokenizer of {folder} cannot be made from its vocabulary: {error}"
        ) from error


def _resolve(name: str | Path) -> Path:
    if name in [folder.name for folder in PACKAGED_MODELS.iterdir()]:
        return PACKAGED_MODELS / name
    try:
        if Path(name).is_dir():
            return Path(name)
    except (OSError, ValueError):
        # A name that no file system takes is no folder.
        pass
    if not isinstance(name, str) or not _HUB_NAME.fullmatch(name):
        packaged = ", ".join(sorted(p.name for p in PACKAGED_MODELS.iterdir() if p.is_dir()))
        raise CheckpointError(
            f"there is no model {str(name)!r}; give a packaged name ({packaged}), a folder, "
            "or owner/name of a model on the Hugging Face hub"
        )
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "model*.safetensors", *ONNX_FILES.values(), *VOCABULARIES, "merges.txt"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:
        # The hub client raises from several libraries; all of them mean the model is not here.
        raise CheckpointError(
            f"{name} is neither a folder here nor could it be fetched from the hub: {error}"
        ) from error


def _fingerprint(folder: Path, recipe: Recipe) -> str:
    """Hash what the recipe does, the digest of the weights, and the tokenizer.

    An ONNX file made from the same weights has the same fingerprint: its vectors may be compared.
    """
    weights = recipe.weights
    if any(folder.glob("*.safetensors")):
        weights = weights_digest(folder)
    elif not (graphs := [name for name in ONNX_FILES.values() if (folder / name).is_file()]):
        raise CheckpointError(
            f"{folder} has neither {WEIGHTS_FILES[0]} nor {ONNX_FILES['int8']}; other formats are "
            "not read, since they can run code when loaded"
        )
    elif weights is None:
        raise CheckpointError(
            f"{folder} has {graphs[0]} alone, and its {RECIPE_FILE} does not say which weights it "
            "was made from; export it again, or put the weights beside it"
        )
    digest = hashlib.blake2b(f"{recipe.identity()}\n{weights}\n".encode(), digest_size=8)
    for name in ("tokenizer.json", *VOCABULARIES):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
            break
    return digest.hexdigest()


def weights_digest(folder: Path) -> str:
    """Hash the sizes and evenly spaced samples of a folder's weights: 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{size}\n".encode())
        with path.open("rb") as file:
            if size <= SAMPLES * SAMPLE_BYTES:
                digest.update(file.read())
                continue
            for sample in range(SAMPLES):
                file.seek(sample * (size - SAMPLE_BYTES) // (SAMPLES - 1))
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()
