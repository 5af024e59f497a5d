"""Full disks, files that may not grow, damaged files: one error, and nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from inbedder_retrieval import Document, EngineError, ViewCollection
from inbedder_retrieval.collection.edge import EdgeEngine
from inbedder_retrieval.collection.engine import Point, VectorQuery
from inbedder_retrieval.collection.flow import run
from tests.collection.engines import create_engine
from tests.collection.killed import FAKE, check_vectors

resource = pytest.importorskip("resource", reason="limits of files are POSIX's")

PRIVATE = ["unshare", "--user", "--map-root-user", "--mount"]
TONE = {"tone": "Is it polite?"}


def some(start: int, stop: int) -> list[Document]:
    return [
        Document(f"text {n % 7}", id=n, metadata={"long": "x" * 500}) for n in range(start, stop)
    ]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[ViewCollection]:
    with ViewCollection.create(tmp_path / "c.inb", {"near": "What is it?"}, FAKE) as collection:
        collection.add(some(0, 100))
        yield collection


@contextmanager
def files_of(size: int) -> Iterator[None]:
    """Let no file of this process, nor of one it starts, grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_error_and_with_room_again_the_same_call_finishes(
    tmp_path: Path,
) -> None:
    """On a small disk of its own, where the system lets us have one."""
    tried = [*PRIVATE, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(tried, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    command = [*PRIVATE, sys.executable, "-m", "tests.collection.full_disk", str(tmp_path / "disk")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    add, add_view, rename, delete = done.stdout.splitlines()
    assert "no room" in add
    assert "no room" in add_view
    assert "No space left on device" in rename
    assert "no room" in delete


def test_a_write_that_the_disk_refuses_is_one_error_and_can_be_made_again(
    kept: ViewCollection,
) -> None:
    stored = 100

    def add() -> None:
        nonlocal stored
        while stored < 100_000:
            kept.add(some(stored, stored + 200))
            stored += 200

    with files_of(50_000), pytest.raises(EngineError, match=r"could not (write|flush)"):
        add()
    assert kept.get(range(stored)) == some(0, stored)
    report = kept.add(some(0, stored + 400))
    assert report.unchanged >= stored
    assert kept.get(range(stored + 400)) == some(0, stored + 400)
    check_vectors(kept)


def test_a_view_that_the_disk_refuses_leaves_the_others_and_can_be_added_again(
    kept: ViewCollection,
) -> None:
    with files_of(10_000), pytest.raises(EngineError, match=r"copy of its shard.*too large"):
        kept.add_view(TONE)
    assert kept.views.names == ["near"]
    assert kept.add_view(TONE) == 100
    check_vectors(kept)
    # Vectors that are made, and a registry that cannot be written.
    with files_of(100), pytest.raises(EngineError, match=r"registry\.json cannot be written"):
        kept.rename_view("tone", "voice")
    assert kept.views.names == ["near", "tone"]
    kept.rename_view("tone", "voice")
    assert kept.views.names == ["near", "voice"]
    assert kept.get(range(100)) == some(0, 100)


def test_graphs_that_the_disk_refuses_leave_the_points_as_they_were(tmp_path: Path) -> None:
    engine = create_engine(tmp_path / "c.inb", {"near": 256}, {})
    rows = np.random.default_rng(0).standard_normal((12_000, 256)).astype(np.float32)
    for start in range(0, len(rows), 1000):
        engine.upsert(
            [
                Point(str(UUID(int=n)), {"n": n}, {"near": rows[n]})
                for n in range(start, start + 1000)
            ]
        )
    with (
        files_of(1_000_000),
        pytest.raises(EngineError, match=r"could not optimize .*; Qdrant Edge says: [^\n]+$"),
    ):
        engine.optimize()
    for _ in range(2):
        assert engine.count() == len(rows)
        found = engine.search([VectorQuery("near", rows[7])], limit=1)
        assert [point.payload for point in found] == [{"n": 7}]
        engine.optimize()
    engine.close()


def test_a_write_that_finds_no_room_is_refused_before_edge_sees_it(kept: ViewCollection) -> None:
    engine = kept._store.engine
    assert isinstance(engine, EdgeEngine)
    free = shutil.disk_usage(engine._folder).free
    [vector] = run(engine.vectors())
    # It claims memory that is never touched.
    wide = np.broadcast_to(np.float32(1), (free,))
    point = Point("00000000-0000-0000-0000-000000000001", {}, {vector: wide})
    with pytest.raises(EngineError, match=r"has no room: its disk has \d+ MiB left, and \d+ MiB"):
        run(engine.upsert([point]))
    assert kept.count() == 100


def test_a_panic_of_edge_is_an_engine_error(kept: ViewCollection, tmp_path: Path) -> None:
    kept.close()
    [damaged] = (tmp_path / "c.inb" / "shard").rglob("vectors/status.dat")
    damaged.write_bytes(b"")
    with pytest.raises(EngineError, match=r"could not open the collection at .*out of bounds"):
        ViewCollection.open(tmp_path / "c.inb", FAKE)
