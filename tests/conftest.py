"""Tiny random models, built once: a BERT with 2 layers and 32 numbers, and its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertForMaskedLM

from inbedder_retrieval import Document, Embedder, ViewCollection, Views
from inbedder_retrieval.checkpoint import Checkpoint, find_checkpoint
from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.testing import FakeEmbedder
from tests.architectures import ARCHITECTURES, build
from tests.collection.locations import KINDS, a_location

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789?!.,'-"
WORDS = ["the", "how", "does", "feel", "what", "need", "customer", "head", "refund", "phone"]

QUESTIONS = {
    "general": None,
    "feeling": "How does the customer feel?",
    "need": "What does the customer need?",
}


def build_checkpoint(folder: Path, *, seed: int = 0, name: str = "tiny") -> Path:
    """Write a random masked language model with a recipe into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = [*SPECIALS, *LETTERS, *("##" + letter for letter in LETTERS), *WORDS, "##phones"]
    tokenizer = Tokenizer(
        models.WordPiece({piece: k for k, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(SPECIALS)
    # As in many published files: padding and truncation are on and must not be used.
    tokenizer.enable_padding(length=16, pad_id=0, pad_token="[PAD]")
    tokenizer.enable_truncation(max_length=16)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=96,
    )
    model = BertForMaskedLM(config)
    for parameter in model.parameters():
        # The default initialisation is so small that every token looks alike.
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    Recipe(
        name=name,
        text_template=("[CLS]", "{text}", "[SEP]"),
        question_template=("{question}", "[SEP]", "[MASK]"),
        answer_token="[MASK]",
        head="mlm",
        general="mean",
        max_text_tokens=40,
        max_positions=96,
        answer_norm=5.0,
    ).save(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint without an ONNX file. Do not write to it."""
    return build_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_folder: Path) -> Checkpoint:
    return find_checkpoint(tiny_folder)


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Embedder:
    """The tiny checkpoint on torch."""
    return Embedder(tiny_folder, backend="torch")


@pytest.fixture(scope="session")
def packaged() -> Embedder:
    """The packaged model, as users load it."""
    return Embedder()


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny checkpoint of every architecture, without a recipe of its own. Do not write to it."""
    root = tmp_path_factory.mktemp("architectures")
    return {name: build(name, root / name) for name in ARCHITECTURES}


@pytest.fixture
def fake() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def views() -> Views:
    return Views.of(QUESTIONS)


@pytest.fixture(params=KINDS)
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | Path]:
    """A free place on each engine."""
    with a_location(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def collection(location: str | Path, fake: FakeEmbedder, views: Views) -> Iterator[ViewCollection]:
    """An empty collection on each engine."""
    with ViewCollection.create(location, views, fake) as found:
        yield found


@pytest.fixture
def documents() -> list[Document]:
    """Eight short documents with metadata of every kind."""
    rows: list[tuple[str, dict[str, Any]]] = [
        ("the phone is broken", {"product": "phone", "price": 10, "new": True}),
        ("the phone is late", {"product": "phone", "price": 10.5, "new": False}),
        ("love the lamp", {"product": "lamp", "price": 3, "tags": ["gift", "small"]}),
        ("the lamp is broken", {"product": "lamp", "price": 4, "tags": ["small"]}),
        ("where is my refund", {"product": None, "price": -1}),
        ("a red chair", {"product": "chair", "maker": {"name": "oak", "year": 1999}}),
        ("a blue chair", {"product": "chair", "maker": {"name": "elm", "year": 2004}}),
        ("", {}),
    ]
    return [Document(text, id=f"d{k}", metadata=data) for k, (text, data) in enumerate(rows)]


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
