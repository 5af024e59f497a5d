"""What both backends are compared with."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from inbedder_retrieval.checkpoint import PACKAGED_MODELS, find_checkpoint
from inbedder_retrieval.demo import demo_documents
from inbedder_retrieval.export import _write_graph
from tests.reference import plain_vectors, unit

DEMO_QUESTIONS = {
    "general": None,
    "product": "Which product is it about?",
    "feeling": "How does the customer feel?",
    "need": "What does the customer need?",
}


@pytest.fixture(scope="session")
def demo_texts() -> list[str]:
    """Sixty messages, spread over the demo corpus."""
    return [document.text for document in demo_documents()[::6][:60]]


@pytest.fixture(scope="session")
def demo_vectors(demo_texts: list[str]) -> dict[str, NDArray[np.float32]]:
    """The packaged model's unit vectors of the sixty messages, computed the plain way."""
    folder = PACKAGED_MODELS / "inbedder-minilm"
    found = plain_vectors(folder, demo_texts, DEMO_QUESTIONS, most=224, start=64, reads_from=2)
    return {name: unit(vectors) for name, vectors in found.items()}


@pytest.fixture(scope="session")
def exact_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with its float32 graph. Do not write to it."""
    folder = Path(shutil.copytree(tiny_folder, tmp_path_factory.mktemp("onnx") / "exact"))
    _write_graph(find_checkpoint(folder), folder / "model.onnx")
    return folder


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint to change."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
