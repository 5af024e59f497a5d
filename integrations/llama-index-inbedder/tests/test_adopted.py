"""A collection of LlamaIndex's own store for Qdrant, adopted: it has views from then on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, Document, NodeRelationship, TextNode
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient

from inbedder_retrieval import ViewCollection
from inbedder_retrieval.testing import FakeEmbedder
from llama_index.retrievers.inbedder import InBedderRetriever
from llama_index.vector_stores.inbedder import InBedderVectorStore
from tests.conftest import QUESTIONS, TEXTS

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")
LONG = " ".join(f"Sentence {number} is about tents and kettles." for number in range(30))


@contextmanager
def theirs(folder: Path) -> Iterator[QdrantVectorStore]:
    client = QdrantClient(path=str(folder))
    try:
        yield QdrantVectorStore("letters", client=client)
    finally:
        client.close()


def written(folder: Path) -> list[BaseNode]:
    """Nodes, cut from documents, in their store."""
    documents = [
        Document(text=text, id_=name, metadata={"length": len(text), "tags": [name]})
        for name, text in (TEXTS | {"long": LONG}).items()
    ]
    nodes = SentenceSplitter(chunk_size=80, chunk_overlap=0)(documents)
    with theirs(folder) as store:
        for number, node in enumerate(nodes):
            node.embedding = [1.0, float(number)]
        store.add(list(nodes))
    for node in nodes:
        node.embedding = None
    return list(nodes)


def test_views_are_added_beside_their_vectors(tmp_path: Path, embedder: FakeEmbedder) -> None:
    nodes = written(tmp_path)
    assert NodeRelationship.NEXT in nodes[-2].relationships
    with ViewCollection.adopt(tmp_path, QUESTIONS, embedder, name="letters") as collection:
        store = InBedderVectorStore(collection, view="need")
        assert store.get_nodes([node.node_id for node in nodes]) == nodes
        for node in (nodes[0], nodes[-1]):
            query = VectorStoreQuery(query_str=node.get_content(), similarity_top_k=1)
            result = store.query(query)
            assert result.nodes == [node]
            assert result.similarities == pytest.approx([1.0], abs=1e-5)
        assert collection.add_view({"product": "Which product is it about?"}) == len(nodes)
        both = InBedderRetriever(collection, views={"product": 0.5, "need": 0.5})
        assert both.retrieve(nodes[1].get_content())[0].node == nodes[1]
        tagged = MetadataFilters(filters=[MetadataFilter(key="tags", value="late")])
        assert [node.ref_doc_id for node in store.get_nodes(filters=tagged)] == ["late"]
    with theirs(tmp_path) as own:
        asked = VectorStoreQuery(query_embedding=[1.0, 2.0], similarity_top_k=len(nodes))
        found = own.query(asked).nodes or []
    assert sorted(found, key=lambda node: node.node_id) == sorted(
        nodes, key=lambda node: node.node_id
    )


def test_both_stores_go_on_writing(tmp_path: Path, embedder: FakeEmbedder) -> None:
    nodes = written(tmp_path)
    name = "11111111-1111-4111-8111-111111111111"
    with ViewCollection.adopt(tmp_path, QUESTIONS, embedder, name="letters") as collection:
        store = InBedderVectorStore(collection)
        seen = embedder.texts_seen
        # What is there with the same text and metadata is passed over.
        store.add(nodes)
        assert embedder.texts_seen == seen
        index = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(embed_dim=2))
        index.delete_ref_doc("long")
        assert len(store.get_nodes()) == len(TEXTS)
        changed = nodes[0].model_copy(deep=True)
        changed.set_content("my stove is cold")
        changed.metadata = {"length": 1}
        store.add([changed])
    with theirs(tmp_path) as own:
        [found] = own.get_nodes([nodes[0].node_id])
        assert found.embedding == [1.0, 0.0]
        assert found.model_copy(update={"embedding": None}) == changed
        assert len(own.get_nodes([node.node_id for node in nodes])) == len(TEXTS)
        late = TextNode(id_=name, text="where are my shoes", metadata={"length": 2})
        late.embedding = [0.5, 0.5]
        own.add([late])
        late.embedding = None
    with ViewCollection.adopt(tmp_path, None, embedder, name="letters") as collection:
        store = InBedderVectorStore(collection, view="feeling")
        query = VectorStoreQuery(query_str="where are my shoes", similarity_top_k=1)
        assert store.query(query).nodes == [late]
        assert len(store.get_nodes()) == len(TEXTS) + 1
