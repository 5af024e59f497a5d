from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable

import numpy as np
import pytest
from conftest import MESSAGES
from inbedder_retrieval import Embedder, Embeddings, InputError, TextError, View, ViewError
from inbedder_retrieval.testing import FakeEmbedder
from inbedder_retrieval.views import ViewsLike
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_inbedder import InBedderEmbeddings

FEELING = View("feeling", "How does the customer feel?")
TEXTS = list(MESSAGES.values())


class Waiting(FakeEmbedder):
    """Embeds once an event is set, so that it can only be embedded where others go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def embed(self, texts: Iterable[str], views: ViewsLike) -> Embeddings:
        if not self.go_on.wait(timeout=30):
            raise TimeoutError("nothing else ran while texts were embedded")
        return super().embed(texts, views)


def test_texts_and_queries_are_asked_the_question(embedder: Embedder) -> None:
    embeddings = InBedderEmbeddings(FEELING.instruction, embedder=embedder)
    expected = embedder.embed(TEXTS, FEELING)["feeling"]
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), expected, atol=1e-6)
    [alone] = embedder.embed(TEXTS[:1], FEELING)["feeling"]
    np.testing.assert_allclose(embeddings.embed_query(TEXTS[0]), alone, atol=1e-6)
    general = InBedderEmbeddings(embedder=embedder)
    assert general.view.name == "general"
    expected = embedder.embed(TEXTS, View("general", None))["general"]
    np.testing.assert_allclose(general.embed_documents(TEXTS), expected, atol=1e-6)


def test_the_packaged_model_is_taken_unless_another_is_named(embedder: Embedder) -> None:
    embeddings = InBedderEmbeddings(threads=1)
    assert embeddings.embedder.fingerprint == embedder.fingerprint
    assert embeddings.dimension == len(embeddings.embed_query("foo")) == embedder.dimension
    with pytest.raises(Exception, match="no-such-model"):
        InBedderEmbeddings(model="no-such-model")


def test_queries_can_be_answers(embedder: Embedder) -> None:
    embeddings = InBedderEmbeddings(FEELING.instruction, embedder=embedder, queries="answers")
    expected = embedder.embed_answers(["anger"], FEELING)["feeling"][0]
    np.testing.assert_allclose(embeddings.embed_query("anger"), expected, atol=1e-6)
    with pytest.raises(TextError):
        embeddings.embed_query(" ")


def test_another_question_is_asked_of_the_same_model(embedder: Embedder) -> None:
    general = InBedderEmbeddings(embedder=embedder, queries="answers")
    for view in (FEELING, "How does the customer feel?"):
        feeling = general.for_view(view)
        assert feeling.instruction == FEELING.instruction
        assert feeling.embedder is embedder
        assert feeling.queries == "answers"
    assert general.for_view(FEELING).for_view("general").instruction is None
    with pytest.raises(ViewError, match="know no questions by name"):
        general.for_view("feeling")


def test_a_cache_has_a_namespace_for_every_question_and_model() -> None:
    one, other = FakeEmbedder(seed=0), FakeEmbedder(seed=1)
    spaces = [
        InBedderEmbeddings(embedder=one).namespace,
        InBedderEmbeddings("What is it?", embedder=one).namespace,
        InBedderEmbeddings("Who is it?", embedder=one).namespace,
        InBedderEmbeddings("Who is it?", embedder=one, queries="answers").namespace,
        InBedderEmbeddings("Who is it?", embedder=other).namespace,
    ]
    assert len(set(spaces)) == 5
    assert spaces[1] == InBedderEmbeddings("What is it?", view="x", embedder=one).namespace


def test_long_texts_are_cut_or_refused(embedder: Embedder) -> None:
    long = "word " * 2000
    cut, refused = (
        InBedderEmbeddings(embedder=embedder, on_long="cut"),
        InBedderEmbeddings(embedder=embedder, on_long="error"),
    )
    assert len(cut.embed_query(long)) == embedder.dimension
    with pytest.raises(TextError, match="text 1 is longer"):
        refused.embed_documents(["short", long])


async def test_the_event_loop_goes_on_while_texts_are_embedded() -> None:
    embedder = Waiting()
    embeddings = InBedderEmbeddings(embedder=embedder)
    running = [
        asyncio.create_task(embeddings.aembed_documents(["foo", "bar"])),
        asyncio.create_task(embeddings.aembed_documents(["baz"])),
    ]
    query = asyncio.create_task(embeddings.aembed_query("foo"))
    await asyncio.sleep(0)
    embedder.go_on.set()
    first, second = await asyncio.gather(*running)
    assert [len(first), len(second)] == [2, 1]
    assert await query == first[0]


def test_any_vector_store_takes_them(embedder: Embedder) -> None:
    embeddings = InBedderEmbeddings(FEELING.instruction, embedder=embedder)
    store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
    found = store.similarity_search("I am furious", k=5)
    vectors = embedder.embed(TEXTS, FEELING)["feeling"]
    order = np.argsort(-(vectors @ embedder.embed(["I am furious"], FEELING)["feeling"][0]))
    assert [one.page_content for one in found] == [TEXTS[k] for k in order]


def test_arguments_that_cannot_be_used_are_refused(fake: FakeEmbedder) -> None:
    with pytest.raises(InputError, match="model, threads for another"):
        InBedderEmbeddings(model="x", threads=2, embedder=fake)
    with pytest.raises(InputError, match="choose 'texts' or 'answers'"):
        InBedderEmbeddings(embedder=fake, queries="words")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="choose 'cut' or 'error'"):
        InBedderEmbeddings(embedder=fake, on_long="split")  # type: ignore[arg-type]
    with pytest.raises(ViewError, match="must hold some text"):
        InBedderEmbeddings(" ", embedder=fake)
    with pytest.raises(TextError):
        InBedderEmbeddings(embedder=fake).embed_documents([1])  # type: ignore[list-item]
