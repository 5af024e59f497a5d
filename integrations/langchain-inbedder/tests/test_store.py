from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import KINDS, MESSAGES, QUESTIONS, Location
from inbedder_retrieval import (
    CollectionError,
    CollectionLocked,
    CollectionNotFound,
    DocumentError,
    Embedder,
    InputError,
    ModelMismatch,
    TextError,
    UnknownView,
    ViewCollection,
    ViewError,
    Where,
)
from inbedder_retrieval.testing import FakeEmbedder
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from langchain_inbedder import InBedderEmbeddings, InBedderVectorStore

NEED = "What does the customer need?"


def filled(store: InBedderVectorStore) -> InBedderVectorStore:
    store.add_texts(
        ["one fish", "two fish", "red fish", "blue bird"],
        [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}],
        ids=["1", "2", "3", "4"],
    )
    return store


def stored(store: InBedderVectorStore) -> set[str]:
    return {one.id for one in store.collection.scroll()[0]}


def test_documents_are_added_passed_over_and_written_anew(store: InBedderVectorStore) -> None:
    filled(store)
    ids = store.add_documents(
        [Document("one fish", metadata={"n": 1}, id="1"), Document("old fish", id="2")]
    )
    assert ids == ["1", "2"]
    assert stored(store) == {"1", "2", "3", "4"}
    assert store.get_by_ids(["2", "nowhere", "1"]) == [
        Document("old fish", id="2"),
        Document("one fish", metadata={"n": 1}, id="1"),
    ]
    [first, *_] = store.similarity_search("old fish", k=1)
    assert first.id == "2"


def test_the_same_text_without_an_id_is_one_document(store: InBedderVectorStore) -> None:
    first = store.add_texts(["foo", "bar", "foo"])
    again = store.add_texts(text for text in ["foo", "bar", "foo"])
    assert first == again
    assert len(set(first)) == store.collection.count() == 2


def test_documents_are_deleted_by_id_or_by_filter(store: InBedderVectorStore) -> None:
    filled(store)
    assert store.delete(["1", "nowhere"]) is True
    assert store.delete([]) is True
    assert stored(store) == {"2", "3", "4"}
    assert store.delete(filter={"n": {"$gte": 3}}) is True
    assert stored(store) == {"2"}


def test_nothing_is_deleted_by_accident(store: InBedderVectorStore) -> None:
    filled(store)
    calls: list[Callable[[], bool]] = [
        lambda: store.delete(),
        lambda: store.delete(None),
        lambda: asyncio.run(store.adelete()),
        lambda: store.delete("1"),
        lambda: store.delete(["1"], filter=Where.field("n") == 2),
        lambda: store.delete(filter={}),
        lambda: asyncio.run(store.adelete(filter={"n": {}})),
    ]
    for call in calls:
        with pytest.raises((InputError, DocumentError)):
            call()
    assert stored(store) == {"1", "2", "3", "4"}
    assert store.collection.clear() == 4


def test_a_store_looks_through_one_view_and_shares_the_documents(
    store: InBedderVectorStore,
) -> None:
    assert store.view == "general"
    feeling = store.for_view("feeling")
    assert (feeling.view, store.view) == ("feeling", "general")
    feeling.add_texts(["foo"], ids=["1"])
    assert store.get_by_ids(["1"]) == [Document("foo", id="1")]
    assert feeling.embeddings.instruction == QUESTIONS["feeling"]
    query = feeling.embeddings.embed_query("foo")
    [(_, score)] = feeling.similarity_search_with_score_by_vector(query)
    assert score == pytest.approx(1)
    with pytest.raises(UnknownView, match="'need'; there are general, product, feeling"):
        store.for_view("need")


def test_a_question_can_be_added_to_a_live_store(store: InBedderVectorStore) -> None:
    filled(store)
    assert store.collection.add_view({"need": NEED}) == 4
    assert store.for_view("need").similarity_search("red fish", k=1)[0].id == "3"


@pytest.mark.parametrize("kind", KINDS)
def test_texts_make_a_store_and_add_to_one(kind: str, location: Location) -> None:
    place, fake = location(kind), FakeEmbedder()
    with InBedderVectorStore.from_texts(
        ["foo"], fake, [{"n": 1}], ids=["1"], location=place, views=QUESTIONS, view="feeling"
    ) as store:
        assert (store.view, store.collection.views.names) == ("feeling", list(QUESTIONS))
    if kind == "memory":
        return
    more = [Document("bar", id="2"), Document("baz", metadata={"n": 3})]
    with InBedderVectorStore.from_documents(more, fake, location=place) as store:
        assert store.view == "general"
        assert store.collection.count() == 3
        assert store.get_by_ids(["1"]) == [Document("foo", metadata={"n": 1}, id="1")]
    with InBedderVectorStore.from_existing(place, fake, view="product") as store:
        assert store.similarity_search("bar", k=1) == [more[0]]


async def test_texts_make_a_store_in_an_event_loop(location: Location) -> None:
    fake = FakeEmbedder()
    for kind in KINDS:
        async with await InBedderVectorStore.afrom_texts(
            ["foo", "bar"], fake, ids=["1", "2"], location=location(kind), views=QUESTIONS
        ) as store:
            assert [one.id for one in await store.asimilarity_search("bar", k=1)] == ["2"]
    async with await InBedderVectorStore.afrom_documents([Document("foo")], fake) as store:
        assert store.collection.views.names == ["general"]


def test_the_embeddings_question_is_the_view(tmp_path: Path, fake: FakeEmbedder) -> None:
    feeling = InBedderEmbeddings(QUESTIONS["feeling"], view="feeling", embedder=fake)
    with InBedderVectorStore.from_texts(["foo"], feeling) as store:
        assert store.collection.views["feeling"].instruction == QUESTIONS["feeling"]
    place = tmp_path / "x.inb"
    InBedderVectorStore.from_texts(["foo"], fake, location=place, views=QUESTIONS).close()
    # The name is the collection's to give.
    same = InBedderEmbeddings(QUESTIONS["feeling"], embedder=fake)
    with InBedderVectorStore.from_texts(["bar"], same, location=place) as store:
        assert store.view == "feeling"
    other = InBedderEmbeddings(NEED, embedder=fake)
    with pytest.raises(UnknownView, match="which no view here does"):
        InBedderVectorStore.from_existing(place, other)
    with InBedderVectorStore.from_existing(place, other, view="product") as store:
        assert store.view == "product"


def test_without_an_embedding_the_packaged_model_is_taken(embedder: Embedder) -> None:
    with InBedderVectorStore.from_texts(["foo"]) as store:
        assert store.embeddings.embedder.fingerprint == embedder.fingerprint


def test_a_store_that_cannot_be_filled_is_let_go_of(tmp_path: Path, fake: FakeEmbedder) -> None:
    place = tmp_path / "x.inb"
    # The errors are kept, and with them what their frames hold.
    with pytest.raises(TextError, match="longer than") as caught:
        InBedderVectorStore.from_texts(["word " * 2000], location=place, on_long="error")
    with pytest.raises(ModelMismatch):
        InBedderVectorStore.from_existing(place, fake)
    with pytest.raises(ViewError):
        InBedderVectorStore.from_texts(["a"], location=place, views={"need": NEED})
    with pytest.raises(UnknownView) as unknown:
        InBedderVectorStore.from_existing(place, view="need")
    with pytest.raises(TextError) as awaited:
        asyncio.run(
            InBedderVectorStore.afrom_texts(["word " * 2000], location=place, on_long="error")
        )
    with InBedderVectorStore.from_existing(place) as store:
        assert store.collection.count() == 0
        assert [error.tb is not None for error in (caught, unknown, awaited)] == [True] * 3
        with pytest.raises(CollectionLocked):
            InBedderVectorStore.from_existing(place)
    with pytest.raises(CollectionNotFound):
        InBedderVectorStore.from_existing(tmp_path / "nowhere")


def test_embeddings_that_cannot_be_asked_are_refused() -> None:
    for foreign in (DeterministicFakeEmbedding(size=6), "inbedder-minilm"):
        with pytest.raises(InputError, match="cannot be asked a view's question"):
            InBedderVectorStore.from_texts(["foo"], foreign)  # type: ignore[arg-type]


def test_options_that_there_are_not_are_refused(store: InBedderVectorStore) -> None:
    with pytest.raises(InputError, match="no option 'url'; there are location"):
        InBedderVectorStore.from_texts(["foo"], url="http://x")  # type: ignore[call-arg]
    for call in (store.add_texts, store.add_documents):
        with pytest.raises(TypeError, match="refresh"):
            call([], refresh=True)  # type: ignore[call-arg]


def test_texts_that_are_cut_are_reported(
    embedder: Embedder, caplog: pytest.LogCaptureFixture
) -> None:
    with InBedderVectorStore.from_texts([], embedder) as store:
        with caplog.at_level(logging.WARNING, logger="langchain_inbedder"):
            store.add_texts(["short"])
            assert not caplog.records
            store.add_texts(["word " * 2000, "longer " * 3000])
        assert "2 texts are longer than the model reads" in caplog.text
        with pytest.raises(TextError, match="longer than"):
            store.add_documents([Document("text " * 2000, id="7")], on_long="error")


@pytest.mark.parametrize("kind", KINDS)
async def test_tasks_write_and_search_at_once(kind: str, location: Location) -> None:
    fake = FakeEmbedder()
    async with await InBedderVectorStore.afrom_texts(
        MESSAGES.values(), fake, ids=MESSAGES, location=location(kind), views=QUESTIONS
    ) as store:
        numbers = [str(k) for k in range(50)]
        written, found = await asyncio.gather(
            store.aadd_texts(numbers, ids=numbers),
            asyncio.gather(
                *(store.for_view(view).asimilarity_search("my tent", k=3) for view in QUESTIONS)
            ),
        )
        assert len(written) == 50
        assert all(len(hits) == 3 for hits in found)
        assert await store.collection.acount() == 55
        assert len(await store.aget_by_ids(written)) == 50
        assert await store.adelete(filter={"$ids": written})
        assert await store.collection.acount() == 5


def test_closing_closes_every_store_over_the_collection(tmp_path: Path, fake: FakeEmbedder) -> None:
    store = InBedderVectorStore.from_texts(["foo"], fake, location=tmp_path / "x.inb")
    other = store.for_view("general")
    store.close()
    store.close()
    with pytest.raises(CollectionError):
        other.similarity_search("foo")


def test_a_view_that_somebody_else_added_is_found(location: Location) -> None:
    if "server" not in KINDS:
        pytest.skip("QDRANT_URL is not set, so nobody else can be there")
    place, fake = location("server"), FakeEmbedder()
    with (
        InBedderVectorStore.from_texts(["foo"], fake, location=place) as store,
        ViewCollection.open(place, fake) as somebody,
    ):
        somebody.add_view({"need": NEED})
        assert store.for_view("need").similarity_search("foo")[0].page_content == "foo"


def test_the_core_calls_reach_the_store(store: InBedderVectorStore) -> None:
    retriever: Any = filled(store).as_retriever(
        search_type="mmr", search_kwargs={"k": 2, "fetch_k": 4, "lambda_mult": 0.3}
    )
    assert retriever.tags == ["InBedderVectorStore", "InBedderEmbeddings"]
    assert len(retriever.invoke("red fish")) == 2
    ids = retriever.add_documents([Document("green fish", id="5")])
    assert ids == ["5"]
    assert store.search("green fish", "similarity", k=1)[0].id == "5"
