from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, RobertaConfig, RobertaForMaskedLM

from inbedder_retrieval import CheckpointError, Embedder, InputError, MissingExtraError, View
from inbedder_retrieval.recipe import Recipe
from tests.backends.conftest import DEMO_QUESTIONS
from tests.conftest import QUESTIONS
from tests.reference import plain_vectors, unit

TEXTS = ["the phone", "", "my refund is late, what now?", "[MASK] [SEP] head", "a " * 60]
ASKED = View("feeling", "How does the customer feel?")


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint to change."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


def test_packed_vectors_are_the_plain_ones(tiny: Embedder, tiny_folder: Path) -> None:
    plain = plain_vectors(tiny_folder, TEXTS, QUESTIONS, most=40)
    packed = tiny.embed(TEXTS, QUESTIONS)
    for name in QUESTIONS:
        np.testing.assert_allclose(packed[name], unit(plain[name]), rtol=0, atol=1e-5)


def test_the_packaged_models_vectors_are_the_plain_ones(
    demo_texts: list[str], demo_vectors: dict[str, NDArray[np.float32]]
) -> None:
    packed = Embedder(backend="torch").embed(demo_texts[:20], DEMO_QUESTIONS)
    for name, plain in demo_vectors.items():
        np.testing.assert_allclose(packed[name], plain[:20], rtol=0, atol=1e-5)


def test_without_a_head_the_answer_slots_state_is_the_vector(folder: Path) -> None:
    Recipe.load(folder).model_copy(update={"head": "none"}).save(folder)
    plain = plain_vectors(folder, TEXTS, QUESTIONS, most=40, head=False)
    packed = Embedder(folder, backend="torch").embed(TEXTS, QUESTIONS)
    for name in QUESTIONS:
        np.testing.assert_allclose(packed[name], unit(plain[name]), rtol=0, atol=1e-5)


def test_several_answer_slots_are_averaged_before_the_head(folder: Path) -> None:
    """With one slot text-only attention makes [SEP] and [MASK] two halves of one mean."""
    recipe = Recipe.load(folder)
    recipe.model_copy(update={"answer_tokens": 2, "head": "none"}).save(folder)
    both = Embedder(folder, backend="torch").embed(["the phone"], ASKED)["feeling"]
    import torch
    from transformers import BertForMaskedLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    model = BertForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
    first = tokenizer.convert_tokens_to_ids(["[CLS]", "the", "phone", "[SEP]"])
    pieces = tokenizer(ASKED.instruction, add_special_tokens=False)["input_ids"]
    ids = first + pieces + tokenizer.convert_tokens_to_ids(["[SEP]", "[MASK]"])
    mask = torch.zeros(1, 1, len(ids), len(ids))
    mask[0, 0, :4, 4:] = torch.finfo(torch.float32).min
    with torch.inference_mode():
        states = model.bert(
            torch.tensor([ids]),
            attention_mask=mask,
            token_type_ids=torch.tensor([[0] * 4 + [1] * (len(ids) - 4)]),
        ).last_hidden_state[0]
    np.testing.assert_allclose(both[0], unit(states[-2:].mean(0).numpy()), rtol=0, atol=1e-5)


def test_a_folder_without_safetensors_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.onnx")
    with pytest.raises(CheckpointError, match="has no model.safetensors"):
        Embedder(folder, backend="torch")


@pytest.mark.parametrize("kept", [0, 3000])
def test_weights_cut_short_are_refused(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"copy"):
        Embedder(folder, backend="torch")


def test_weights_of_another_size_are_refused(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"intermediate_size": 64', '"intermediate_size": 48'))
    with pytest.raises(CheckpointError, match="masked language model"):
        Embedder(folder, backend="torch")


def test_weights_without_the_head_are_refused_and_not_made_up(folder: Path) -> None:
    BertModel(BertConfig.from_pretrained(folder)).save_pretrained(folder)
    with pytest.raises(CheckpointError, match="head|missing|weights"):
        Embedder(folder, backend="torch")


def test_weights_that_lack_a_layer_are_refused_and_not_made_up(folder: Path) -> None:
    path = folder / "model.safetensors"
    kept = {name: value for name, value in load_file(path).items() if "layer.1." not in name}
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError):
        Embedder(folder, backend="torch")


@pytest.mark.parametrize("head", ["mlm", "none"])
def test_a_model_that_counts_positions_from_another_number_is_refused(
    folder: Path, head: str
) -> None:
    """RoBERTa's first position is 2: from 0 its vectors are wrong, and nothing would say so."""
    config = RobertaConfig(
        vocab_size=200,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=98,
        type_vocab_size=1,
    )
    RobertaForMaskedLM(config).save_pretrained(folder)
    changed = {"head": head, "question_token_type": 0}
    Recipe.load(folder).model_copy(update=changed).save(folder)
    with pytest.raises(CheckpointError, match=r"(?i)roberta"):
        Embedder(folder, backend="torch")


@pytest.mark.parametrize("device", ["typewriter", "xla"])
def test_a_device_torch_cannot_use_is_refused(tiny_folder: Path, device: str) -> None:
    with pytest.raises(InputError, match=f"cannot use the device '{device}'"):
        Embedder(tiny_folder, backend="torch", device=device)


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_without_the_packages_the_install_line_is_given(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delitem(sys.modules, "inbedder_retrieval.backends.torch", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'inbedder-retrieval\[torch\]'"):
        Embedder(tiny_folder, backend="torch")
