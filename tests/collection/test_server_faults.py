"""A server that goes away in the middle: back in time, nothing is lost; never back, one error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from inbedder_retrieval import Connection, Document, EngineError, View, ViewCollection, Views
from inbedder_retrieval.collection import Findings
from inbedder_retrieval.testing import FakeEmbedder
from tests.collection.killed import check_vectors
from tests.collection.qdrant_server import QdrantServer

TONE = View("tone", "Is it polite?")
PATIENT = Connection(timeout=2, patience=20, grpc=False)
HASTY = Connection(timeout=0.5, patience=0.3, grpc=False)
TEXTS = [Document(f"text {n} of {n % 5}", id=n, metadata={"n": n}) for n in range(60)]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inbedder_retrieval.collection.backfill.BATCH_DOCUMENTS", 16)
    monkeypatch.setattr("inbedder_retrieval.collection.index.BATCH_DOCUMENTS", 16)


@pytest.fixture
def patient(
    qdrant_server: QdrantServer, views: Views, fake: FakeEmbedder
) -> Iterator[ViewCollection]:
    with ViewCollection.create(f"{qdrant_server.url}/c", views, fake, connection=PATIENT) as found:
        yield found


@pytest.fixture
def hasty(
    qdrant_server: QdrantServer, views: Views, fake: FakeEmbedder
) -> Iterator[ViewCollection]:
    with ViewCollection.create(f"{qdrant_server.url}/c", views, fake, connection=HASTY) as found:
        yield found


def whole(collection: ViewCollection, fake: FakeEmbedder) -> None:
    """Every text is there once, under every view, and its vectors are its own."""
    assert collection.count() == len(TEXTS)
    assert collection.get(range(len(TEXTS))) == TEXTS
    assert collection.check().clean
    check_vectors(collection, fake)


def gone_for(server: QdrantServer, seconds: float) -> Callable[[object], None]:
    """Return what stops the server once, when it is called, and starts it again later."""
    back = threading.Timer(seconds, server.start)

    def stop(_: object) -> None:
        if back.ident is None:
            server.stop()
            back.start()

    return stop


def test_a_server_that_comes_back_in_time_loses_and_doubles_nothing(
    patient: ViewCollection, qdrant_server: QdrantServer, fake: FakeEmbedder
) -> None:
    report = patient.add(TEXTS, progress=gone_for(qdrant_server, 0.5))
    assert (report.added, report.updated) == (len(TEXTS), 0)
    stop = gone_for(qdrant_server, 0.5)
    assert patient.add_view(TONE, progress=lambda done, _: stop(done)) == len(TEXTS)
    whole(patient, fake)
    gone_for(qdrant_server, 0.5)(None)
    assert patient.search(TEXTS[3].text, view="tone", limit=1)[0].id == "3"


def test_a_server_that_comes_back_in_time_is_waited_for_by_an_event_loop(
    patient: ViewCollection, qdrant_server: QdrantServer, fake: FakeEmbedder
) -> None:
    async def use() -> None:
        report = await patient.aadd(TEXTS, progress=gone_for(qdrant_server, 0.5))
        assert (report.added, report.updated) == (len(TEXTS), 0)
        stop = gone_for(qdrant_server, 0.5)
        added = await patient.aadd_view(TONE, progress=lambda done, _: stop(done))
        assert added == len(TEXTS)
        gone_for(qdrant_server, 0.5)(None)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        beside = asyncio.create_task(tick())
        assert (await patient.asearch(TEXTS[3].text, view="tone", limit=1))[0].id == "3"
        beside.cancel()
        # The loop went on while the search waited.
        assert ticks > 5

    asyncio.run(use())
    whole(patient, fake)


@pytest.mark.parametrize("fault", ["fail", "cut", "cut done", "hang", "hang done"])
def test_a_write_of_which_nothing_is_heard_is_made_again(
    patient: ViewCollection, qdrant_server: QdrantServer, fake: FakeEmbedder, fault: str
) -> None:
    kind, _, done = fault.partition(" ")
    for match in ("PUT .*/points$", "PUT .*/points/vectors$"):
        if kind == "fail":
            qdrant_server.fail(2, status=503, match=match)
        elif kind == "cut":
            qdrant_server.cut(1, match=match, done=bool(done))
        else:
            qdrant_server.hang(1, 3, match=match, done=bool(done))
    assert patient.add(TEXTS).added == len(TEXTS)
    assert patient.add_view(TONE) == len(TEXTS)
    whole(patient, fake)


def test_a_server_that_does_not_come_back_is_one_error_and_the_same_call_goes_on_later(
    hasty: ViewCollection, qdrant_server: QdrantServer, fake: FakeEmbedder
) -> None:
    stored: list[int] = []

    def stop(done: int) -> None:
        stored.append(done)
        qdrant_server.stop()

    with pytest.raises(EngineError, match=r"no Qdrant server answers at http://.*start it"):
        hasty.add(TEXTS, progress=stop)
    assert stored == [16]
    with pytest.raises(EngineError, match="no Qdrant server answers"):
        hasty.search("text", view="need")
    qdrant_server.start()
    assert hasty.get(range(16)) == TEXTS[:16]
    report = hasty.add(TEXTS)
    assert (report.unchanged, report.added) == (16, len(TEXTS) - 16)
    with pytest.raises(EngineError, match="no Qdrant server answers"):
        hasty.add_view(TONE, progress=lambda done, total: stop(done))
    qdrant_server.start()
    assert hasty.add_view(TONE) == len(TEXTS) - 16
    whole(hasty, fake)


def test_a_server_that_does_not_come_back_is_one_error_in_an_event_loop(
    hasty: ViewCollection, qdrant_server: QdrantServer, fake: FakeEmbedder
) -> None:
    async def use() -> None:
        with pytest.raises(EngineError, match="no Qdrant server answers"):
            await hasty.aadd(TEXTS, progress=lambda done: qdrant_server.stop())
        with pytest.raises(EngineError, match="no Qdrant server answers"):
            await hasty.asearch("text", view="need")
        qdrant_server.start()
        assert (await hasty.aadd(TEXTS)).unchanged == 16

    asyncio.run(use())
    whole(hasty, fake)


def test_a_server_that_hangs_is_one_error_after_the_timeout(
    hasty: ViewCollection, qdrant_server: QdrantServer
) -> None:
    qdrant_server.hang(9, 600)
    with pytest.raises(EngineError, match=r"no Qdrant server answers at .*timed out"):
        hasty.count()
    qdrant_server.heal()
    assert hasty.count() == 0


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("call", ["vectors?/", "/c$", "/points"])
def test_a_change_of_views_that_a_server_refuses_is_finished_by_the_same_calls(
    hasty: ViewCollection, qdrant_server: QdrantServer, fake: FakeEmbedder, call: str, done: bool
) -> None:
    """Whether the work was done before the refusal or not."""
    hasty.add(TEXTS)

    def change() -> None:
        hasty.add_view(TONE)
        hasty.rebuild_view(View("need", "What is needed?"))
        if "far" not in hasty.views.names:
            hasty.rename_view("feeling", "far")
        if "general" in hasty.views.names:
            hasty.drop_view("general")

    refusals = 0
    for _ in range(4):
        # It is refused for good: of this error nobody hopes that it passes.
        qdrant_server.fail(1, status=500, match=f"(PUT|PATCH|DELETE|POST) .*{call}", done=done)
        try:
            change()
        except EngineError:
            refusals += 1
    qdrant_server.heal()
    change()
    assert refusals
    assert sorted(hasty.views.names) == ["far", "need", "tone"]
    found = hasty.check()
    # A vector that was made before the registry was refused is left, and nothing else.
    assert found == Findings(documents=len(TEXTS), orphans=found.orphans)
    assert hasty.repair(found, delete=True).clean
    whole(hasty, fake)
