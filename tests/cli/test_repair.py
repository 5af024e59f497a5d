"""`inbedder repair` says what is wrong and what it would do, and does it when it is told to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from inbedder_retrieval import ViewCollection
from inbedder_retrieval.collection.engine import Point
from inbedder_retrieval.collection.flow import run as run_flow
from inbedder_retrieval.collection.schema import point_id
from tests.cli.commands import ROWS, Run, refused

FOREIGN = "00000000-0000-0000-0000-000000000005"


@pytest.fixture
def broken(indexed: Path, tmp_path: Path) -> Path:
    """A copy of the rows with a vector of no view, another tool's point, and vectors lacking."""
    place = tmp_path / "broken.inb"
    shutil.copytree(indexed, place)
    with ViewCollection.open(place) as collection:
        engine = collection._store.engine
        need = collection._store.registry.record("need").vector
        run_flow(engine.add_vectors({"others-1": 4}))
        run_flow(engine.upsert([Point(FOREIGN, {"written by": "another tool"})]))
        lost = [Point(point_id(f"r{n}"), {}) for n in range(3)]
        run_flow(engine.clear_vectors(lost, [need]))
    return place


def test_nothing_wrong_is_said_so(run: Run, indexed: Path) -> None:
    said = run("repair", indexed, "--yes")
    assert said.code == 0
    assert said.out == f"{indexed}: nothing is wrong with {len(ROWS)} documents.\n"


def test_what_is_wrong_is_shown_and_left_until_it_is_told(run: Run, broken: Path) -> None:
    shown = run("repair", broken)
    assert shown.code == 0
    assert shown.out.splitlines() == [
        "3 documents without view need",
        "    embed them",
        "vectors that no view lists: others-1",
        "    leave them; with --delete they are deleted",
        f"points that hold no document: {FOREIGN}",
        "    leave them; with --delete they are deleted",
        "Nothing was done; to do it, add --yes.",
    ]
    assert run("repair", broken) == shown
    mended = run("repair", broken, "--yes")
    assert mended.out.splitlines()[6:] == [
        "Mended, but for this:",
        "vectors that no view lists: others-1",
        f"points that hold no document: {FOREIGN}",
    ]
    done = run("repair", broken, "--yes", "--delete")
    assert done.out.splitlines()[-1] == f"Mended; {broken} holds {len(ROWS)} documents."
    assert "nothing is wrong" in run("repair", broken).out


def test_machines_are_told_in_json(run: Run, broken: Path) -> None:
    found = json.loads(run("repair", broken, "--json").out)
    assert found["left"] is None
    assert found["found"]["lacking"] == {"need": 3}
    done = json.loads(run("repair", broken, "--json", "--yes", "--delete").out)
    assert done["found"] == found["found"]
    assert done["left"]["documents"] == len(ROWS)
    assert not any(done["left"][name] for name in ("lacking", "orphans", "foreign"))


def test_what_is_no_collection_is_refused(run: Run, tmp_path: Path) -> None:
    refused(run("repair", tmp_path / "none.inb"), "there is no collection at")
