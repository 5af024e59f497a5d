"""What one adapter writes reads through the other and through the library, and comes back whole."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from conftest import QUESTIONS, Opened
from inbedder_retrieval import Document, ViewCollection
from inbedder_retrieval.testing import FakeEmbedder
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_inbedder import InBedderVectorStore as LangChainStore
from langchain_qdrant import QdrantVectorStore as LangChainQdrant
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, IndexNode, NodeRelationship, TextNode
from llama_index.core.schema import Document as LlamaDocument
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.vector_stores.inbedder import EmbeddedByStore
from llama_index.vector_stores.inbedder import InBedderVectorStore as LlamaStore
from llama_index.vector_stores.qdrant import QdrantVectorStore as LlamaQdrant
from qdrant_client import QdrantClient

PLAIN = {"page": 3, "ratio": 0.1 + 0.2, "nested": {"tags": ["a", None, True]}, "text": "mine"}
DATED = PLAIN | {
    "day": date(2026, 1, 31),
    "seen": [datetime(2026, 1, 31, 10, 30, tzinfo=timezone(timedelta(hours=-3)))],
}
# As the library shows it.
AS_TEXT = PLAIN | {"day": "2026-01-31", "seen": ["2026-01-31T10:30:00-03:00"]}
LONG = " ".join(f"Sentence {number} is about tents and kettles." for number in range(40))

SPLITTER = SentenceSplitter(chunk_size=140, chunk_overlap=0)


def query(text: str, **fields: Any) -> VectorStoreQuery:
    return VectorStoreQuery(query_str=text, similarity_top_k=1, **fields)


def test_what_langchain_wrote(opened: Opened) -> None:
    whole = LangChainDocument("one fish", metadata=DATED, id="a/1")
    LangChainStore(opened()).add_documents([whole, LangChainDocument("red fish", id="ключ")])

    node = TextNode(id_="a/1", text="one fish", metadata=DATED)
    llama = LlamaStore(opened(), view="feeling")
    assert llama.get_nodes(["a/1", "ключ"]) == [node, TextNode(id_="ключ", text="red fish")]
    assert llama.query(query("one fish")).nodes == [node]
    early = MetadataFilter(key="day", value="2026-02-01", operator=FilterOperator.LT)
    found = llama.query(query("red fish", filters=MetadataFilters(filters=[early])))
    assert found.nodes == [node]

    library = opened()
    [stored] = library.get(["a/1"])
    assert (stored.id, stored.text, stored.metadata) == ("a/1", "one fish", AS_TEXT)
    assert library.search("one fish", view="product", limit=1)[0].metadata == AS_TEXT
    # The same once more, by whomever, changes nothing.
    LlamaStore(library).add([node])
    assert library.get(["a/1"]) == [stored]
    assert library.add([stored]).unchanged == 1
    assert LangChainStore(opened()).get_by_ids(["a/1"]) == [whole]


def test_what_llama_index_wrote(opened: Opened) -> None:
    nodes: list[BaseNode] = list(
        IngestionPipeline(
            transformations=[SPLITTER, EmbeddedByStore()],
            vector_store=LlamaStore(opened()),
        ).run(documents=[LlamaDocument(text=LONG, id_="letter", metadata=DATED)])
    )
    for node in nodes:
        node.embedding = None
    link = IndexNode(id_="link", text="a link", index_id="other", extra_info={"page": 1})
    LlamaStore(opened()).add([link])
    assert len(nodes) > 3
    assert NodeRelationship.SOURCE in nodes[1].relationships
    ids = [node.node_id for node in [*nodes, link]]

    chain = LangChainStore(opened(), view="feeling")
    documents = [
        LangChainDocument(node.get_content(), metadata=node.metadata, id=node.node_id)
        for node in [*nodes, link]
    ]
    assert chain.get_by_ids(ids) == documents
    text = documents[1].page_content
    assert chain.similarity_search(text, k=1) == [documents[1]]
    later = {"seen": {"$gte": datetime(2026, 1, 31, 13, 30, tzinfo=timezone.utc)}}
    assert chain.similarity_search("a link", k=9, filter={"page": 1}) == [documents[-1]]
    assert len(chain.similarity_search("a link", k=99, filter=later)) == len(nodes)

    library = opened()
    for stored, node in zip(library.get(ids), [*nodes, link], strict=True):
        assert (stored.id, stored.text) == (node.node_id, node.get_content())
        assert stored.metadata == (AS_TEXT if node is not link else {"page": 1})
    assert library.search(text, view="product", limit=1)[0].metadata == AS_TEXT

    llama = LlamaStore(opened())
    assert llama.get_nodes(ids) == [*nodes, link]
    assert llama.query(query(text)).nodes == [nodes[1]]
    # A document in the place of a node is no node any more.
    LangChainStore(llama.client).add_documents([LangChainDocument("another", id="link")])
    assert llama.get_nodes(["link"]) == [TextNode(id_="link", text="another")]
    llama.delete("letter")
    assert [node.node_id for node in llama.get_nodes()] == ["link"]


def test_what_the_library_wrote(opened: Opened) -> None:
    opened().add([Document("one fish", id="7", metadata=AS_TEXT)])
    [document] = LangChainStore(opened(), view="feeling").similarity_search("one fish")
    assert document == LangChainDocument("one fish", metadata=AS_TEXT, id="7")
    [node] = LlamaStore(opened(), view="feeling").query(query("one fish")).nodes or []
    assert node == TextNode(id_="7", text="one fish", metadata=AS_TEXT)


def test_what_langchains_own_store_wrote_reads_through_llama_index(tmp_path: Path) -> None:
    name = "11111111-1111-4111-8111-111111111111"
    LangChainQdrant.from_texts(
        ["one fish", "red fish"],
        DeterministicFakeEmbedding(size=6),
        [PLAIN, {}],
        [name, "22222222-2222-4222-8222-222222222222"],
        path=str(tmp_path),
        collection_name="theirs",
    ).client.close()
    with ViewCollection.adopt(tmp_path, QUESTIONS, FakeEmbedder(), name="theirs") as collection:
        store = LlamaStore(collection, view="feeling")
        whole = TextNode(id_=name, text="one fish", metadata=PLAIN)
        assert store.get_nodes([name]) == [whole]
        assert store.query(query("one fish")).nodes == [whole]
        third = MetadataFilters(filters=[MetadataFilter(key="page", value=3)])
        assert store.query(query("red fish", filters=third)).ids == [name]
        store.add([TextNode(id_="blue", text="blue fish", metadata={"page": 4})])
        assert store.query(query("blue fish")).ids == ["blue"]
    theirs = LangChainQdrant(
        QdrantClient(path=str(tmp_path)), "theirs", DeterministicFakeEmbedding(size=6)
    )
    assert theirs.get_by_ids([name])[0].page_content == "one fish"
    theirs.client.close()


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")
def test_what_llama_indexs_own_store_wrote_reads_through_langchain(tmp_path: Path) -> None:
    documents = [LlamaDocument(text=LONG, id_="letter", metadata=PLAIN)]
    nodes = SPLITTER(documents)
    for number, node in enumerate(nodes):
        node.embedding = [1.0, float(number)]
    client = QdrantClient(path=str(tmp_path))
    LlamaQdrant("theirs", client=client).add(nodes)
    client.close()
    with ViewCollection.adopt(tmp_path, QUESTIONS, FakeEmbedder(), name="theirs") as collection:
        store = LangChainStore(collection, view="feeling")
        second = LangChainDocument(nodes[1].get_content(), metadata=PLAIN, id=nodes[1].node_id)
        assert store.get_by_ids([nodes[1].node_id]) == [second]
        assert store.similarity_search(second.page_content, k=1) == [second]
        assert store.delete([nodes[0].node_id])
        assert len(store.similarity_search("tents", k=99, filter={"page": 3})) == len(nodes) - 1
    client = QdrantClient(path=str(tmp_path))
    asked = VectorStoreQuery(query_embedding=[1.0, 1.0], similarity_top_k=1)
    [found] = LlamaQdrant("theirs", client=client).query(asked).nodes or []
    nodes[1].embedding = None
    assert found == nodes[1]
    client.close()
