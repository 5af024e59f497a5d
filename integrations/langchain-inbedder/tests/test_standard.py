"""The standard suites of langchain-tests, as they are, on every kind of location."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import KINDS, QUESTIONS, Location
from inbedder_retrieval import Document, Embedder, TextEmbedder, ViewCollection
from inbedder_retrieval.testing import FakeEmbedder
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_inbedder import InBedderEmbeddings, InBedderRetriever, InBedderVectorStore

ONE = {"general": None}
CASES = [
    (kind, state, model, views)
    for kind in KINDS
    for state in ("created", "reopened", "for_view")
    if (kind, state) != ("memory", "reopened")
    for model, views in (("fake", QUESTIONS), ("packaged", ONE))
]


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture(params=CASES, ids=lambda case: "-".join(case[:3]))
    def vectorstore(
        self, request: pytest.FixtureRequest, location: Location, embedder: Embedder
    ) -> Iterator[VectorStore]:
        kind, state, model, views = request.param
        used: TextEmbedder = embedder if model == "packaged" else FakeEmbedder()
        place = location(kind)
        store = InBedderVectorStore(ViewCollection.create(place, views, used))
        if state == "reopened":
            # It was written to before, and emptied.
            store.add_texts(["foo", "something else"], ids=["1", "x"])
            store.delete(["1", "x"])
            store.close()
            store = InBedderVectorStore.from_existing(place, used)
        if state == "for_view":
            store = store.for_view(list(views)[-1])
        with store:
            yield store


class TestEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return InBedderEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"instruction": "How does the customer feel?"}


class TestEmbeddingsIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return InBedderEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"instruction": "How does the customer feel?"}


class TestRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return InBedderRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        collection = ViewCollection.create(":memory:", QUESTIONS, FakeEmbedder())
        collection.add(Document(f"the word {word}") for word in ("one", "two", "three", "four"))
        return {"collection": collection, "views": {"product": 0.7, "feeling": 0.3}, "k": 2}

    @property
    def retriever_query_example(self) -> str:
        return "the word three"
