"""What the store writes reads the same through the library, and the other way round."""

from __future__ import annotations

import pytest
from conftest import KINDS, QUESTIONS, Location
from inbedder_retrieval import Document, ViewCollection
from inbedder_retrieval.testing import FakeEmbedder
from langchain_core.documents import Document as LangChainDocument

from langchain_inbedder import InBedderVectorStore

METADATA = {"page": 3, "ratio": 0.1, "nested": {"tags": ["a", None]}}
KEPT = [kind for kind in KINDS if kind != "memory"]


@pytest.mark.parametrize("kind", KEPT)
def test_the_library_reads_what_the_store_wrote(kind: str, location: Location) -> None:
    place, fake = location(kind), FakeEmbedder()
    InBedderVectorStore.from_documents(
        [LangChainDocument("foo", metadata=METADATA, id="a/1")],
        fake,
        location=place,
        views=QUESTIONS,
    ).close()
    with ViewCollection.open(place, fake) as collection:
        assert collection.get(["a/1"]) == [Document("foo", id="a/1", metadata=METADATA)]
        assert collection.search("foo", view="feeling")[0].metadata == METADATA
        assert collection.add([Document("foo", id="a/1", metadata=METADATA)]).unchanged == 1


@pytest.mark.parametrize("kind", KEPT)
def test_the_store_reads_what_the_library_wrote(kind: str, location: Location) -> None:
    place, fake = location(kind), FakeEmbedder()
    with ViewCollection.create(place, QUESTIONS, fake) as collection:
        collection.add([Document("foo", id="a/1", metadata=METADATA)])
    with InBedderVectorStore.from_existing(place, fake, view="feeling") as store:
        whole = LangChainDocument("foo", metadata=METADATA, id="a/1")
        assert store.get_by_ids(["a/1"]) == store.similarity_search("foo") == [whole]
