"""Many threads that change one collection at once lose nothing and do not wait for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from inbedder_retrieval import Document, View, ViewCollection
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.testing import FakeEmbedder
from tests.collection.killed import check_vectors

TURNS = 5


def at_once(*work: Callable[[], None]) -> list[BaseException]:
    """Run each in a thread of its own and return what they raised."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(work))

    def start(one: Callable[[], None]) -> None:
        try:
            barrier.wait()
            one()
        except BaseException as error:
            errors.append(error)

    # One that waits for ever does not keep the tests from ending.
    threads = [threading.Thread(target=start, args=(one,), daemon=True) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=100)
    assert not any(thread.is_alive() for thread in threads), "a deadlock"
    return errors


def test_threads_that_change_documents_and_views_at_once_lose_nothing(
    collection: ViewCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inbedder_retrieval.collection.backfill.BATCH_DOCUMENTS", 7)
    collection.add_view({"near": "Where is it?"})
    named = [f"near {turn}" for turn in range(2 * TURNS)]

    def write(worker: int) -> Callable[[], None]:
        def work() -> None:
            for turn in range(TURNS):
                names = [f"{worker}-{turn}-{n}" for n in range(8)]
                fits = {"worker": worker, "turn": f"t{turn}"}
                collection.add(Document(f"old {name}", id=name, metadata=fits) for name in names)
                collection.add(Document(f"new {name}", id=name, metadata=fits) for name in names)
                assert collection.delete(names[:2]) == 2
                assert [one.text for one in collection.get(names)] == [
                    f"new {n}" for n in names[2:]
                ]
                [hit] = collection.search(f"new {names[5]}", view="feeling", limit=1, filter=fits)
                assert hit.id == names[5]
                weights = {"general": 1.0, "feeling": 0.5}
                assert collection.search(f"new {names[5]}", views=weights)[0].id == names[5]

        return work

    def come_and_go() -> None:
        for turn in range(TURNS):
            collection.add_view([View(f"short {turn}", f"Short {turn}?"), View("x", f"{turn}?")])
            collection.drop_view("x")

    def rename() -> None:
        name = "near"
        for to in named:
            collection.rename_view(name, to)
            name = to

    def rebuild() -> None:
        for turn in range(TURNS):
            collection.rebuild_view(View("need", f"What is needed in turn {turn}?"))

    def optimize() -> None:
        for _ in range(TURNS):
            collection.optimize()

    workers = [write(worker) for worker in range(4)]
    assert at_once(*workers, come_and_go, rename, rebuild, optimize) == []
    kept = [f"{w}-{t}-{n}" for w in range(4) for t in range(TURNS) for n in range(2, 8)]
    assert collection.count() == len(kept)
    assert [one.text for one in collection.get(kept)] == [f"new {name}" for name in kept]
    assert {view.name: view.instruction for view in collection.views} == {
        "general": None,
        "feeling": "How does the customer feel?",
        "need": f"What is needed in turn {TURNS - 1}?",
        named[-1]: "Where is it?",
    } | {f"short {turn}": f"Short {turn}?" for turn in range(TURNS)}
    check_vectors(collection, FakeEmbedder())
    registry = run(collection._store.refresh())
    assert {record.state for record in registry.written} == {"ready"}
    vectors = {record.vector: record.dimension for record in registry.written}
    assert run(collection._store.engine.vectors()) == vectors
