"""Stores over a fake model, and what several tests look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

from inbedder_retrieval import ViewCollection
from inbedder_retrieval.testing import FakeEmbedder
from llama_index.vector_stores.inbedder import InBedderVectorStore

QUESTIONS = {
    "general": None,
    "feeling": "How does the customer feel?",
    "need": "What does the customer need?",
}
TEXTS = {
    "tent": "my tent broke and I want a refund",
    "bag": "my tent does not fit its bag",
    "leak": "the kettle leaks please repair it",
    "late": "where is the kettle this is outrageous",
    "thanks": "thank you for the kettle",
}


def chunk(id: str, text: str, source: str | None = None, **metadata: object) -> TextNode:
    """A node, cut from a document where one is named."""
    relationships = (
        {} if source is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    )
    return TextNode(id_=id, text=text, metadata=metadata, relationships=relationships)


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder(dimension=64)


@pytest.fixture(params=["memory", "folder"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, embedder: FakeEmbedder
) -> Iterator[InBedderVectorStore]:
    """An empty store, in memory and in a folder."""
    location = ":memory:" if request.param == "memory" else tmp_path / "nodes.inb"
    with ViewCollection.create(location, QUESTIONS, embedder) as collection:
        yield InBedderVectorStore(collection)


@pytest.fixture
def filled(store: InBedderVectorStore) -> InBedderVectorStore:
    """A store that holds TEXTS."""
    store.add([chunk(name, text) for name, text in TEXTS.items()])
    return store
