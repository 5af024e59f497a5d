"""The calls for asyncio give what the others give, on every engine, and do not hold the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import ArrayLike

from inbedder_retrieval import (
    AnswerWord,
    Connection,
    Document,
    EngineError,
    Hit,
    UnknownView,
    View,
    ViewCollection,
    Views,
)
from inbedder_retrieval.embeddings import Embeddings
from inbedder_retrieval.testing import FakeEmbedder
from inbedder_retrieval.views import ViewsLike
from tests.collection.qdrant_server import QdrantServer

TONE = View("tone", "Is it polite?")


def scores(hits: Iterable[Hit]) -> Any:
    """The local mode of qdrant-client adds up in another order when it is asked again."""
    return pytest.approx({hit.id: hit.score for hit in hits}, abs=1e-6)


def test_every_call_does_what_its_namesake_does(
    location: str | Path, views: Views, documents: list[Document], fake: FakeEmbedder
) -> None:
    async def work() -> None:
        async with ViewCollection.create(location, views, fake) as collection:
            report = await collection.aadd(documents)
            assert report.added == len(documents)
            assert await collection.acount() == collection.count() == len(documents)
            assert await collection.aget(["d2", "d0"]) == [documents[2], documents[0]]
            assert await collection.aadd_view(TONE) == len(documents)
            weights = {"tone": 1.0, "need": 0.5}
            hits = await collection.asearch("love the lamp", views=weights)
            wanted = collection.search("love the lamp", views=weights)
            assert {hit.id: hit.score for hit in hits} == scores(wanted)
            await collection.arename_view("tone", "manner")
            assert "manner" in collection.views.names
            assert await collection.arebuild_view(View("manner", "Is it rude?")) == len(documents)
            assert collection.views["manner"].instruction == "Is it rude?"
            await collection.adrop_view("manner")
            with pytest.raises(UnknownView):
                await collection.asearch("x", view="manner")
            await collection.aoptimize()
            assert await collection.adelete(["d0"]) == 1
            assert await collection.adelete(filter={"product": "lamp"}) == 2
            assert await collection.ainfo() == collection.info()
            assert collection.count() == len(documents) - 3

    asyncio.run(work())


def test_each_event_loop_has_connections_of_its_own(
    location: str | Path, views: Views, documents: list[Document], fake: FakeEmbedder
) -> None:
    with ViewCollection.create(location, views, fake) as collection:
        collection.add(documents)

        async def count() -> int:
            return await collection.acount()

        assert [asyncio.run(count()) for _ in range(3)] == [len(documents)] * 3


def test_many_searches_at_once_give_what_one_after_another_gives(
    location: str | Path, views: Views, documents: list[Document], fake: FakeEmbedder
) -> None:
    async def work() -> None:
        async with ViewCollection.create(location, views, fake) as collection:
            await asyncio.gather(*(collection.aadd([document]) for document in documents))
            found = await asyncio.gather(
                *(collection.asearch(d.text, view="need") for d in documents * 4)
            )
            expected = [collection.search(d.text, view="need") for d in documents * 4]
            for hits, wanted in zip(found, expected, strict=True):
                assert {hit.id: hit.score for hit in hits} == scores(wanted)

    asyncio.run(work())


class Waiting(FakeEmbedder):
    """An embedder that goes on only once the event loop has gone on."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()
        self.free.set()
        self.asked = threading.Event()

    def embed(self, texts: Iterable[str], views: ViewsLike) -> Embeddings:
        assert self.free.wait(timeout=20), "the event loop was held"
        return super().embed(texts, views)

    def explain(self, vectors: ArrayLike, *, top: int = 5) -> list[list[AnswerWord]]:
        self.asked.set()
        assert self.free.wait(timeout=20), "the event loop was held"
        return super().explain(vectors, top=top)


def test_the_event_loop_goes_on_while_a_model_runs(location: str | Path, views: Views) -> None:
    waiting = Waiting()

    async def work() -> None:
        async with ViewCollection.create(location, views, waiting) as collection:
            waiting.free.clear()
            adding = asyncio.create_task(collection.aadd([Document("a lamp", id=1)]))
            await asyncio.sleep(0)
            assert not adding.done()
            waiting.free.set()
            assert (await adding).added == 1
            waiting.free.clear()
            vector = FakeEmbedder().embed(["a lamp"], views)["need"][0]
            explaining = asyncio.create_task(
                collection.asearch(vector=vector, view="need", explain=2)
            )
            while not explaining.done() and not waiting.asked.is_set():
                await asyncio.sleep(0.001)
            assert not explaining.done()
            waiting.free.set()
            [hit] = await explaining
            assert len(hit.answers["need"]) == 2

    asyncio.run(work())


def test_a_server_is_asked_by_the_asynchronous_client_and_in_patience(
    qdrant_server: QdrantServer, views: Views, documents: list[Document], fake: FakeEmbedder
) -> None:
    async def work() -> None:
        place = f"{qdrant_server.url}/c"
        patient = Connection(timeout=5, patience=10)
        async with ViewCollection.create(place, views, fake, connection=patient) as collection:
            await collection.aadd(documents)
            qdrant_server.fail(2, status=503)
            hits = await collection.asearch("love the lamp", view="need")
            wanted = collection.search("love the lamp", view="need")
            assert {hit.id: hit.score for hit in hits} == scores(wanted)
            qdrant_server.cut(1, done=True)
            assert (await collection.aadd([Document("new", id="n")])).added == 1
            assert await collection.acount() == len(documents) + 1

    asyncio.run(work())


def test_a_server_that_stays_away_is_an_error_to_each_caller(
    qdrant_server: QdrantServer, views: Views, fake: FakeEmbedder
) -> None:
    async def work() -> None:
        place = f"{qdrant_server.url}/c"
        hasty = Connection(timeout=1, patience=0.2)
        async with ViewCollection.create(place, views, fake, connection=hasty) as collection:
            qdrant_server.stop()
            calls = [collection.asearch("x", view="need") for _ in range(3)]
            for found in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(found, EngineError)
                assert "no Qdrant server answers" in str(found)

    asyncio.run(work())
