"""What tests of copies share: a collection with documents, and what a copy of it must hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inbedder_retrieval import Document, ViewCollection, Views
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.schema import point_id
from inbedder_retrieval.testing import FakeEmbedder

__all__ = ["MANY", "VIEWS", "a_collection", "check_holds", "killed_copy", "stop_at"]

VIEWS = Views.of({"general": None, "größe": "How big?", "need": "What is needed?"})
MANY = [
    Document(
        f"text {number} of a lamp",
        id=f"d{number}",
        metadata={"n": number, "x": number / 7, "who": "ab"[number % 2], "deep": {"er": [None]}},
    )
    for number in range(90)
]


class Stopped(Exception):
    pass


def a_collection(
    location: str | Path, documents: Sequence[Document] = MANY, fake: FakeEmbedder | None = None
) -> ViewCollection:
    collection = ViewCollection.create(location, VIEWS, fake or FakeEmbedder())
    collection.add(documents)
    return collection


def check_holds(
    collection: ViewCollection, documents: Sequence[Document], views: Views = VIEWS
) -> None:
    """The collection has these documents and no others, and of each the vector of every view."""
    assert collection.count() == len(documents)
    assert {view.name: view.instruction for view in collection.views} == {
        view.name: view.instruction for view in views
    }
    found = collection.get([document.id for document in documents])
    assert [(one.id, one.text) for one in found] == [(one.id, one.text) for one in documents]
    # 1 is neither 1.0 nor True, and floats are equal to the last bit.
    assert [as_text(one.metadata) for one in found] == [as_text(one.metadata) for one in documents]
    records = run(collection._store.refresh()).records
    names = [record.vector for record in records.values()]
    ids = [point_id(document.id) for document in documents]
    stored = run(collection._store.engine.retrieve(ids, [], vectors=names))
    wanted = FakeEmbedder().embed([document.text for document in documents], views)
    for name, record in records.items():
        for one, vector in zip(ids, wanted[name], strict=True):
            np.testing.assert_allclose(stored[one].vectors[record.vector], vector, atol=2e-7)


def as_text(metadata: dict[str, Any]) -> str:
    return json.dumps(metadata, sort_keys=True)


def stop_at(done: int) -> Callable[[int, int], None]:
    """Return a progress that raises Stopped once so many documents are done."""

    def progress(now: int, _: int) -> None:
        if now >= done:
            raise Stopped

    return progress


# Tells how far it is, and waits to be killed once so many documents are done.
CHILD = """
import sys
from inbedder_retrieval.collection import origin
from inbedder_retrieval.collection.copies import copy_collection

origin.FIRST_PAGE = origin.LARGEST_PAGE = 8
source, target, stop = sys.argv[1], sys.argv[2], int(sys.argv[3])

def progress(done, total):
    print(done, flush=True)
    if done >= stop:
        sys.stdin.read()

print(copy_collection(source, target, progress=progress).model_dump_json())
"""


def killed_copy(source: str | Path, target: str | Path, at: int) -> list[int]:
    """Copy in a process that is killed (SIGKILL) after so many documents; return how far it was."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(source), str(target), str(at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    with child:
        assert child.stdout is not None
        seen: list[int] = []
        while not seen or seen[-1] < at:
            seen.append(int(child.stdout.readline()))
        child.kill()
    return seen
