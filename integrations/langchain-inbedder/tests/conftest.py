"""Collections of five messages under three questions; locations of every kind there is here."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inbedder_retrieval import Document, Embedder, ViewCollection
from inbedder_retrieval.testing import FakeEmbedder
from qdrant_client import QdrantClient

from langchain_inbedder import InBedderVectorStore

QUESTIONS = {
    "general": None,
    "product": "Which product is it about?",
    "feeling": "How does the customer feel?",
}
MESSAGES = {
    "tent": "The zip of my tent broke on the first night. Money back!",
    "bag": "Lovely tent! How do I fold it so that it fits its bag?",
    "kettle": "My kettle leaks. I am afraid it will catch fire.",
    "late": "Where is my kettle? You promised Monday. This is outrageous!",
    "thanks": "Thank you so much, the kettle is perfect. Can I have an invoice?",
}
# A Qdrant server takes part where one is named.
SERVER = os.environ.get("QDRANT_URL")
KINDS = ["memory", "folder", *(["server"] if SERVER else [])]

Location = Callable[[str], str]


@pytest.fixture
def location(tmp_path: Path) -> Iterator[Location]:
    """Makes locations of a kind, where nothing is yet; on a server nothing is left behind."""
    there: list[str] = []

    def made(kind: str) -> str:
        name = f"lc-{uuid.uuid4().hex[:12]}"
        if kind == "server":
            there.append(name)
            return f"{SERVER}/{name}"
        return ":memory:" if kind == "memory" else str(tmp_path / name)

    yield made
    if there:
        client = QdrantClient(url=SERVER, api_key=os.environ.get("QDRANT_API_KEY"))
        for name in there:
            client.delete_collection(name)
        client.close()


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    """The packaged model."""
    return Embedder(threads=2)


@pytest.fixture
def fake() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def store(fake: FakeEmbedder) -> Iterator[InBedderVectorStore]:
    """An empty store with three views and a fake embedder."""
    with ViewCollection.create(":memory:", QUESTIONS, fake) as collection:
        yield InBedderVectorStore(collection)


@pytest.fixture(scope="session")
def messages(embedder: Embedder) -> Iterator[ViewCollection]:
    """Five messages under three questions, by the packaged model. Not to be written to."""
    with ViewCollection.create(":memory:", QUESTIONS, embedder) as collection:
        collection.add(
            Document(text, id=name, metadata={"length": len(text), "tags": [name, "mail"]})
            for name, text in MESSAGES.items()
        )
        yield collection
