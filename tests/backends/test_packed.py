"""The packed model: any architecture as its checkpoint says, and what is none refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertModel,
    ModernBertConfig,
    ModernBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from inbedder_retrieval import CheckpointError, Embedder
from inbedder_retrieval.backends.packed import PackedModel, load_packed_model
from inbedder_retrieval.checkpoint import find_checkpoint
from inbedder_retrieval.recipe import Recipe
from tests.architectures import recipe_of
from tests.reference import pieces, plain_tokenizer, unit


def test_a_layer_may_be_pooled_while_another_thread_generates_with_the_model(
    folders: dict[str, Path],
) -> None:
    """What stops one pass at the wanted layer must not stop the other."""
    folder = folders["llama"]
    recipe = recipe_of(folder, layer=1)
    model = load_packed_model(find_checkpoint(folder, recipe))
    assert isinstance(model, PackedModel)
    language_model: Any = model.model
    ids = torch.arange(5)[None]
    row = {"input_ids": ids, "position_ids": ids, "segment_ids": torch.zeros_like(ids)}
    last = {"columns": torch.tensor([4]), "pool_weights": torch.ones(1, 1, 1)}
    met: list[object] = []

    def go_through_all_layers() -> None:
        try:
            met.append(language_model(ids).logits.shape)
        except Exception as error:
            met.append(error)

    def meet(*_: object) -> None:
        hook.remove()
        other = threading.Thread(target=go_through_all_layers)
        other.start()
        other.join()

    with torch.inference_mode():
        alone = model(**row, **last)[0]
        hook = language_model.model.layers[0].register_forward_pre_hook(meet)
        found = model(**row, **last)[0]
    assert met == [(1, 5, language_model.config.vocab_size)]
    assert (found == alone).all()


@pytest.mark.parametrize("name", ["llama", "qwen", "modernbert"])
def test_rotary_frequencies_keep_their_digits_in_any_precision(
    folders: dict[str, Path], name: str
) -> None:
    """As transformers keeps them: in bfloat16 a position of some thousands is off by radians."""
    checkpoint = find_checkpoint(folders[name], recipe_of(folders[name]))
    half, exact = (
        load_packed_model(checkpoint, precision=precision) for precision in ("bfloat16", "float32")
    )
    rounded = dict(half.named_buffers())
    frequencies = [key for key in rounded if key.endswith("inv_freq")]
    assert frequencies
    for key in frequencies:
        torch.testing.assert_close(rounded[key], dict(exact.named_buffers())[key], rtol=0, atol=0)
    layers: Any = half
    assert {one.dtype for one in layers.model.base_model.parameters()} == {torch.bfloat16}


def test_a_folder_without_safetensors_is_refused(folder: Path) -> None:
    """As one may be that came with its ONNX file alone."""
    Recipe.load(folder).model_copy(update={"weights": "0" * 16}).save(folder)
    (folder / "model.safetensors").rename(folder / "model.onnx")
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        Embedder(folder, backend="torch")


@pytest.mark.parametrize("kept", [0, 3000])
def test_weights_cut_short_are_refused(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="copy"):
        Embedder(folder, backend="torch")


def test_weights_of_another_size_are_refused(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"intermediate_size": 64', '"intermediate_size": 48'))
    with pytest.raises(CheckpointError, match="cannot be loaded as a masked model"):
        Embedder(folder, backend="torch")


def test_weights_without_the_head_are_refused_and_not_made_up(folder: Path) -> None:
    BertModel(BertConfig.from_pretrained(folder)).save_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"head|missing|weights"):
        Embedder(folder, backend="torch")


def test_weights_that_lack_a_layer_are_refused_and_not_made_up(folder: Path) -> None:
    path = folder / "model.safetensors"
    kept = {name: value for name, value in load_file(path).items() if "layer.1." not in name}
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError):
        Embedder(folder, backend="torch")


@pytest.fixture
def roberta(folder: Path) -> Any:
    """A tiny RoBERTa, whose first position is 2, saved into `folder`."""
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=98,
        type_vocab_size=1,
    )
    model: Any = RobertaForMaskedLM(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    changed = {"head": "none", "question_token_type": 0}
    Recipe.load(folder).model_copy(update=changed).save(folder)
    return model.eval()


@pytest.mark.usefixtures("roberta")
def test_a_model_that_counts_positions_from_another_number_is_refused(folder: Path) -> None:
    """From 0 its vectors are wrong, and nothing would say so."""
    with pytest.raises(CheckpointError, match="RobertaForMaskedLM counts positions from 2 and"):
        Embedder(folder, backend="torch")


def test_a_model_that_counts_positions_from_another_number_is_read_right(
    folder: Path, roberta: Any
) -> None:
    """RoBERTa counts for itself where no position is given."""
    Recipe.load(folder).model_copy(update={"first_position": 2}).save(folder)
    tokenizer = plain_tokenizer(folder)
    ids = tokenizer.convert_tokens_to_ids(["[CLS]", "the", "phone", "[SEP]"])
    question = [*pieces(tokenizer, "what?"), *tokenizer.convert_tokens_to_ids(["[SEP]", "[MASK]"])]
    total = 4 + len(question)
    mask = torch.zeros(1, 1, total, total)
    mask[0, 0, :4, 4:] = torch.finfo(torch.float32).min
    with torch.inference_mode():
        text = roberta.roberta(torch.tensor([ids])).last_hidden_state[0].mean(dim=0).numpy()
        states = roberta.roberta(torch.tensor([ids + question]), attention_mask=mask)
        answer = states.last_hidden_state[0, -1].numpy()
    views = {"general": None, "what": "what?", "need": "What does the customer need?"}
    found = Embedder(folder, backend="torch").embed(["the phone", "a " * 40], views)
    np.testing.assert_allclose(found["general"][0], unit(text), rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["what"][0], unit(answer), rtol=0, atol=1e-5)


def test_a_model_without_the_layer_that_reads_the_text_is_refused(folder: Path) -> None:
    Recipe.load(folder).model_copy(update={"reads_from": 2}).save(folder)
    with pytest.raises(CheckpointError, match=r"from layer 2 on, and BertForMaskedLM has 2"):
        Embedder(folder, backend="torch")


@pytest.fixture
def modern(folder: Path) -> Callable[[int], None]:
    """Saves a tiny ModernBERT into `folder` that looks so many tokens far."""

    def save(local_attention: int) -> None:
        config = ModernBertConfig(
            vocab_size=100,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=96,
            local_attention=local_attention,
            pad_token_id=0,
        )
        ModernBertForMaskedLM(config).save_pretrained(folder)

    return save


def test_a_model_that_is_run_with_one_mask_cannot_read_late(
    folder: Path, modern: Callable[[int], None]
) -> None:
    modern(256)
    changed = {"head": "none", "question_token_type": 0, "reads_from": 1}
    Recipe.load(folder).model_copy(update=changed).save(folder)
    with pytest.raises(CheckpointError, match="one mask for all layers; set reads_from to 0"):
        Embedder(folder, backend="torch")


def test_a_model_whose_window_a_mask_would_replace_is_refused(
    folder: Path, modern: Callable[[int], None]
) -> None:
    """ModernBERT drops its sliding window for any 4-D mask: the vectors are wrong, silently."""
    modern(8)
    changed = {"head": "none", "question_token_type": 0}
    Recipe.load(folder).model_copy(update=changed).save(folder)
    with pytest.raises(CheckpointError, match=r"(?i)modernbert"):
        Embedder(folder, backend="torch")
