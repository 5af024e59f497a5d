"""A process that changes a collection until it is killed, and what must be there afterwards.

`python -m tests.collection.killed FOLDER` reads steps from standard input, one a line, and writes
a line once each is done; of documents that are added, also how many are stored so far.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

import inbedder_retrieval.collection.backfill as backfill
import inbedder_retrieval.collection.index as index
from inbedder_retrieval import Document, View, ViewCollection
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.schema import ID, TEXT
from inbedder_retrieval.testing import FakeEmbedder

__all__ = ["FAKE", "Known", "Step", "check_vectors", "do", "some_steps", "stored_texts"]

FAKE = FakeEmbedder(dimension=8)
KEPT = {"kept": "What is needed?", "general": None}
NAMES = ("tone", "place", "größe", "time")
IDS = 150
# What is done, and to what: document ids and a word of their texts, or views.
Step: TypeAlias = "tuple[str, Any]"


@dataclass
class Known:
    """What a collection holds once some steps are done: texts by id, questions by view."""

    texts: dict[str, str] = field(default_factory=dict)
    views: dict[str, str | None] = field(default_factory=lambda: dict(KEPT))

    def after(self, step: Step) -> Known:
        kind, what = step
        texts, views = dict(self.texts), dict(self.views)
        if kind == "add":
            texts |= dict(what)
        elif kind == "delete":
            texts = {name: text for name, text in texts.items() if name not in what}
        elif kind == "drop_view":
            views.pop(what, None)
        elif kind == "rename_view":
            old, new = what
            views = {new if name == old else name: asks for name, asks in views.items()}
        elif kind in ("add_view", "rebuild_view"):
            views |= what
        return Known(texts, views)


def some_steps(pick: random.Random, known: Known, count: int) -> list[Step]:
    """Choose steps that can be done one after the other."""
    steps: list[Step] = []
    for number in range(count):
        free = [name for name in NAMES if name not in known.views]
        there = [name for name in known.views if name in NAMES]
        kinds = ["add", "add", "delete", "rebuild_view", "optimize"]
        kinds += ["add_view"] * 2 if free else []
        kinds += ["drop_view", "rename_view"] if there and free else []
        kind = pick.choice(kinds)
        asks = f"Is it {pick.randrange(1000)}?"
        chosen = [str(one) for one in pick.sample(range(IDS), pick.randint(1, 100))]
        what: Any = None
        if kind == "add":
            what = [(name, f"{name} {pick.randrange(50)} {number}") for name in chosen]
        elif kind == "delete":
            what = chosen[:20]
        elif kind == "add_view":
            what = dict.fromkeys(pick.sample(free, min(len(free), pick.randint(1, 2))), asks)
        elif kind == "rebuild_view":
            what = {pick.choice(["kept", *there]): asks}
        elif kind == "drop_view":
            what = pick.choice(there)
        elif kind == "rename_view":
            what = [pick.choice(there), pick.choice(free)]
        steps.append((kind, what))
        known = known.after(steps[-1])
    return steps


def do(collection: ViewCollection, step: Step) -> None:
    """Do a step, or what is left of it."""
    kind, what = step
    names = collection.views.names
    if kind == "add":
        collection.add(
            [Document(text, id=name, metadata={"text": text}) for name, text in what],
            progress=lambda done: say(f"stored {done}"),
        )
    elif kind == "delete":
        collection.delete(what)
    elif kind == "add_view":
        collection.add_view([View(name, asks) for name, asks in what.items()])
    elif kind == "rebuild_view":
        collection.rebuild_view([View(name, asks) for name, asks in what.items()])
    elif kind == "drop_view" and what in names:
        collection.drop_view(what)
    elif kind == "rename_view" and what[0] in names:
        collection.rename_view(*what)
    elif kind == "optimize":
        collection.optimize()


def stored_texts(collection: ViewCollection) -> dict[str, str]:
    """Return every document's text by id; its metadata has to fit it."""
    points, after = run(collection._store.engine.scroll([ID, TEXT, "metadata"], limit=10 * IDS))
    assert after is None
    for point in points:
        assert point.payload["metadata"] == {"text": point.payload[TEXT]}
    return {point.payload[ID]: point.payload[TEXT] for point in points}


def check_vectors(collection: ViewCollection, fake: FakeEmbedder = FAKE) -> None:
    """No vector is stale, and only that of a view which is being built may be missing."""
    engine = collection._store.engine
    registry = run(collection._store.refresh())
    vectors = [record.vector for record in registry.written]
    assert set(vectors) <= set(run(engine.vectors()))
    points, _ = run(engine.scroll([TEXT], limit=10 * IDS, vectors=vectors))
    texts = [point.payload[TEXT] for point in points]
    for record in registry.written:
        wanted = fake.embed(texts, record.view)[record.name]
        for point, row in zip(points, wanted, strict=True):
            found = point.vectors.get(record.vector)
            if found is None:
                assert record.state == "building", (record, point)
            else:
                np.testing.assert_allclose(found, row, atol=1e-5, err_msg=str((record, point)))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    # Small, so that there are many moments in between.
    backfill.BATCH_DOCUMENTS = index.BATCH_DOCUMENTS = 16
    with ViewCollection.open(sys.argv[1], FAKE) as collection:
        say("begun")
        for line in sys.stdin:
            kind, what = json.loads(line)
            do(collection, (kind, what))
            say("done")


if __name__ == "__main__":
    main()
