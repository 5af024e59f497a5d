from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertModel,
    ModernBertConfig,
    ModernBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from inbedder_retrieval import CheckpointError, Embedder, InputError, MissingExtraError
from inbedder_retrieval.backends.torch import PackedModel, load_packed_model
from inbedder_retrieval.checkpoint import find_checkpoint
from inbedder_retrieval.recipe import Recipe
from tests.architectures import recipe_of
from tests.backends.conftest import DEMO_QUESTIONS
from tests.conftest import QUESTIONS as GENERAL_FIRST
from tests.reference import pieces, plain_tokenizer, plain_vectors, unit

TEXTS = ["the phone", "", "my refund is late, what now?", "[MASK] [SEP] head", "a " * 60]
# The general view last, so that a question is the first segment.
QUESTIONS = dict(reversed(GENERAL_FIRST.items()))


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


@pytest.mark.parametrize(
    ("precision", "mean", "least"),
    # Seven bits of fraction are too few for every single vector to keep 0.9999: 0.99984 was seen.
    [("float16", 0.9999, 0.9999), ("bfloat16", 0.9999, 0.9995)],
)
def test_half_the_digits_point_where_all_do(
    demo_texts: list[str],
    demo_vectors: dict[str, NDArray[np.float32]],
    precision: Any,
    mean: float,
    least: float,
) -> None:
    embedder = Embedder(precision=precision)
    assert str(embedder.runtime).startswith(f"torch {precision} on cpu")
    found = embedder.embed(demo_texts, DEMO_QUESTIONS)
    cosines = np.stack([(found[name] * demo_vectors[name]).sum(axis=1) for name in DEMO_QUESTIONS])
    assert cosines.mean() >= mean
    assert cosines.min() >= least
    assert all(vectors.dtype == np.float32 for vectors in found.values())


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


def test_without_a_head_the_answer_slots_state_is_the_vector(folder: Path) -> None:
    Recipe.load(folder).model_copy(update={"head": "none"}).save(folder)
    plain = plain_vectors(folder, TEXTS, QUESTIONS, most=40, head=False)
    packed = Embedder(folder, backend="torch").embed(TEXTS, QUESTIONS)
    for name in QUESTIONS:
        np.testing.assert_allclose(packed[name], unit(plain[name]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("head", ["mlm", "none"])
def test_several_answer_slots_are_averaged_after_the_head(folder: Path, head: str) -> None:
    template = ("{question}", "[SEP]", "[MASK]", "[MASK]")
    changes = {"question_template": template, "head": head}
    Recipe.load(folder).model_copy(update=changes).save(folder)
    plain = plain_vectors(folder, TEXTS, QUESTIONS, most=40, slots=2, head=head == "mlm")
    packed = Embedder(folder, backend="torch").embed(TEXTS, QUESTIONS)
    for name in QUESTIONS:
        np.testing.assert_allclose(packed[name], unit(plain[name]), rtol=0, atol=1e-5)


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


def test_a_model_whose_window_a_mask_would_replace_is_refused(folder: Path) -> None:
    """ModernBERT drops its sliding window for any 4-D mask: the vectors are wrong, silently."""
    config = ModernBertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=96,
        local_attention=8,
        pad_token_id=0,
    )
    ModernBertForMaskedLM(config).save_pretrained(folder)
    changed = {"head": "none", "question_token_type": 0}
    Recipe.load(folder).model_copy(update=changed).save(folder)
    with pytest.raises(CheckpointError, match=r"(?i)modernbert"):
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
