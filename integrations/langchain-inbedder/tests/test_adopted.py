"""A collection of LangChain's own store for Qdrant, adopted: it has views from then on."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import MESSAGES, QUESTIONS
from inbedder_retrieval import Embedder, ViewCollection
from inbedder_retrieval.testing import FakeEmbedder
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_qdrant import QdrantVectorStore

from langchain_inbedder import InBedderVectorStore

IDS = {name: str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in MESSAGES}
WRITTEN = [
    Document(text, metadata={"length": len(text), "tags": [name]}, id=IDS[name])
    for name, text in MESSAGES.items()
]
EMBEDDING = DeterministicFakeEmbedding(size=6)


@contextmanager
def theirs(folder: Path) -> Iterator[QdrantVectorStore]:
    store = QdrantVectorStore.construct_instance(
        embedding=EMBEDDING, client_options={"path": str(folder)}, collection_name="messages"
    )
    try:
        yield store
    finally:
        store.client.close()


def bare(document: Document) -> Document:
    """What their store returns, with the id in its place, which is in the metadata there."""
    own = {key: value for key, value in document.metadata.items() if key[0] != "_"}
    return Document(document.page_content, metadata=own, id=document.metadata["_id"])


def test_views_are_added_beside_their_vectors(tmp_path: Path, embedder: Embedder) -> None:
    with theirs(tmp_path) as own:
        own.add_documents(WRITTEN)
        before = own.similarity_search_with_score("a tent", k=5)
    with ViewCollection.adopt(tmp_path, QUESTIONS, embedder, name="messages") as collection:
        store = InBedderVectorStore(collection)
        assert store.get_by_ids(list(IDS.values())) == WRITTEN
        angry = "I am so angry about my tent"
        found = {
            view: [one.id for one in store.for_view(view).similarity_search(angry, k=2)]
            for view in QUESTIONS
        }
        assert found["general"] == [IDS["tent"], IDS["bag"]]
        assert set(found["product"]) == {IDS["tent"], IDS["bag"]}
        assert found["feeling"] == [IDS["tent"], IDS["late"]]
        assert collection.add_view({"need": "What does the customer need?"}) == 5
        need = store.for_view("need")
        assert need.similarity_search("I want my money back", k=1) == [WRITTEN[0]]
        both = store.similarity_search(
            "so happy with this kettle!", k=1, views={"product": 0.5, "feeling": 0.5}
        )
        assert both == [WRITTEN[-1]]
        assert store.similarity_search("fire", filter={"tags": "late"}) == [WRITTEN[3]]
    with theirs(tmp_path) as own:
        after = own.similarity_search_with_score("a tent", k=5)
    assert [bare(one) for one, _ in after] == [bare(one) for one, _ in before]
    assert [score for _, score in after] == pytest.approx([score for _, score in before])


def test_both_stores_go_on_writing(tmp_path: Path) -> None:
    fake, late, new = FakeEmbedder(), str(uuid.uuid4()), str(uuid.uuid4())
    with theirs(tmp_path) as own:
        own.add_documents(WRITTEN)
    with ViewCollection.adopt(tmp_path, QUESTIONS, fake, name="messages") as collection:
        store = InBedderVectorStore(collection, view="product")
        seen = fake.texts_seen
        # What is there with the same text and metadata is passed over.
        store.add_documents(WRITTEN)
        assert fake.texts_seen == seen
        changed = Document("My stove is cold.", metadata={"length": 1}, id=IDS["bag"])
        store.add_documents([changed, Document("A lamp, please.", id=new)])
        assert store.delete([IDS["kettle"]])
    with theirs(tmp_path) as own:
        assert [bare(one) for one in own.get_by_ids([IDS["bag"]])] == [changed]
        assert own.get_by_ids([IDS["kettle"]]) == []
        own.add_documents([Document("Where are my shoes?", metadata={"length": 2}, id=late)])
    with ViewCollection.adopt(tmp_path, None, fake, name="messages") as collection:
        store = InBedderVectorStore(collection, view="feeling")
        found = store.similarity_search("Where are my shoes?", k=1)
        assert found == [Document("Where are my shoes?", metadata={"length": 2}, id=late)]
        assert collection.count() == 6
        assert store.get_by_ids([new])[0].page_content == "A lamp, please."
