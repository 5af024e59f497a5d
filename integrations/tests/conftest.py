"""Collections under three questions, by a fake model, in memory and in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inbedder_retrieval import ViewCollection
from inbedder_retrieval.testing import FakeEmbedder

QUESTIONS = {
    "general": None,
    "product": "Which product is it about?",
    "feeling": "How does the customer feel?",
}
# Gives the collection as it is found by whoever comes next: in a folder it is opened again.
Opened = Callable[[], ViewCollection]


@pytest.fixture(params=["memory", "folder"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    place = ":memory:" if request.param == "memory" else str(tmp_path / "c.inb")
    last = ViewCollection.create(place, QUESTIONS, FakeEmbedder())

    def again() -> ViewCollection:
        nonlocal last
        if request.param == "folder":
            last.close()
            last = ViewCollection.open(place, FakeEmbedder())
        return last

    yield again
    last.close()
