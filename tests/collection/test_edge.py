"""The folder engine: whole or not at all, held by one user at a time, readable after a crash."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from inbedder_retrieval import (
    CollectionError,
    CollectionExists,
    CollectionLocked,
    CollectionNotFound,
    EngineError,
    ViewCollection,
)
from inbedder_retrieval.collection.edge import EdgeEngine
from inbedder_retrieval.collection.engine import Point, VectorQuery
from inbedder_retrieval.testing import FakeEmbedder
from tests.collection.engines import RunEngine, create_engine, open_engine

WIDTHS = {"answer": 4}
VECTOR = np.array([1, 0, 0, 0], dtype=np.float32)
POINT = Point("00000000-0000-0000-0000-000000000007", {"n": 7}, {"answer": VECTOR})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make(folder: Path) -> RunEngine:
    engine = create_engine(folder, WIDTHS, {"inbedder": {"format": 1}})
    engine.upsert([POINT])
    engine.flush()
    return engine


def assert_whole(folder: Path) -> None:
    engine = open_engine(folder)
    found = engine.search([VectorQuery("answer", VECTOR)], limit=9)
    assert [point.payload for point in found] == [POINT.payload]
    engine.close()


def test_a_folder_holds_a_readable_registry_and_the_shard(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "below" / "support.inb"
    engine = create_engine(folder, WIDTHS, {"größe": {"a": 1}})
    assert isinstance(engine.engine, EdgeEngine)
    assert engine.kind().startswith("edge (Qdrant Edge 0.")
    engine.close()
    assert names(folder.parent) == ["support.inb"]
    assert names(folder) == [".lock", "registry.json", "shard"]
    assert "größe" in (folder / "registry.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("there", [True, False])
def test_a_create_that_fails_leaves_nothing_behind(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "c.inb").mkdir()
    with pytest.raises(EngineError, match="could not create a collection at"):
        create_engine(tmp_path / "c.inb", {"x" * 300: 4}, {})
    with pytest.raises(TypeError, match="not JSON serializable"):
        create_engine(tmp_path / "c.inb", WIDTHS, {"inbedder": object()})
    assert names(tmp_path) == (["c.inb"] if there else [])
    make(tmp_path / "c.inb").close()
    assert_whole(tmp_path / "c.inb")


def test_an_empty_folder_becomes_the_collection(tmp_path: Path) -> None:
    (tmp_path / "c.inb").mkdir()
    make(tmp_path / "c.inb").close()
    assert_whole(tmp_path / "c.inb")
    assert names(tmp_path) == ["c.inb"]


def test_the_empty_working_folder_becomes_the_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    make(Path(".")).close()
    assert_whole(Path("."))
    assert names(tmp_path) == ["here"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_leads_to_the_collection(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    make(tmp_path / "link").close()
    assert_whole(tmp_path / "disk")
    assert (tmp_path / "link").is_symlink()


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_private_umask_makes_a_private_folder(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make(tmp_path / "c.inb").close()
    finally:
        os.umask(before)
    assert (tmp_path / "c.inb").stat().st_mode & 0o777 == 0o700


def test_of_many_that_create_one_folder_one_succeeds(tmp_path: Path) -> None:
    made: list[RunEngine] = []
    refused: list[BaseException] = []
    barrier = threading.Barrier(6)

    def create() -> None:
        barrier.wait()
        try:
            made.append(create_engine(tmp_path / "c.inb", WIDTHS, {"inbedder": {}}))
        except BaseException as error:
            refused.append(error)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert {type(error) for error in refused} == {CollectionExists}
    assert names(tmp_path) == ["c.inb"]
    made[0].upsert([POINT])
    made[0].close()
    assert_whole(tmp_path / "c.inb")


def test_a_folder_is_held_by_one_object_until_it_is_closed(tmp_path: Path) -> None:
    first = make(tmp_path / "c.inb")
    with pytest.raises(CollectionLocked, match=r"c\.inb: it is held by another process, or by"):
        open_engine(tmp_path / "c.inb")
    assert first.count() == 1
    first.close()
    assert_whole(tmp_path / "c.inb")


def test_a_folder_is_held_while_its_vectors_change_and_while_it_is_optimized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard is copied for the one and closed for the other; a copy is not to be put back."""
    engine = make(tmp_path / "c.inb")

    def refused(*_: Any) -> None:
        with pytest.raises(CollectionLocked, match="held by another process"):
            open_engine(tmp_path / "c.inb")

    with engine.engine._restorable():  # type: ignore[attr-defined]
        refused()
    monkeypatch.setattr("inbedder_retrieval.collection.edge._optimize", refused)
    engine.optimize()
    assert engine.count() == 1
    engine.close()
    assert_whole(tmp_path / "c.inb")


def test_a_folder_that_was_closed_is_left_alone(tmp_path: Path, fake: FakeEmbedder) -> None:
    collection = ViewCollection.create(tmp_path / "c.inb", {"a": "One?", "b": "Two?"}, fake)
    collection.close()
    collection.close()
    calls: list[Callable[[], object]] = [
        lambda: collection.drop_view("a"),
        lambda: collection.rename_view("a", "c"),
        collection.optimize,
        collection.count,
    ]
    for call in calls:
        with pytest.raises(EngineError, match=r"c\.inb is closed; open it again"):
            call()
    with ViewCollection.open(tmp_path / "c.inb", fake) as again:
        assert again.views.names == ["a", "b"]


OPEN = """
import sys
from inbedder_retrieval import CollectionLocked
from inbedder_retrieval.collection.location import open_engine
try:
    engine = open_engine(sys.argv[1])
except CollectionLocked:
    print("locked", flush=True)
else:
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_held_by_one_process_until_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path / "c.inb")]
    first = make(tmp_path / "c.inb")
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"locked\n"
    first.close()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(CollectionLocked, match="held by another process"):
            open_engine(tmp_path / "c.inb")
        process.kill()
    assert_whole(tmp_path / "c.inb")


def test_indexes_are_kept(tmp_path: Path) -> None:
    engine = make(tmp_path / "c.inb")
    engine.index_fields({"metadata.a": "keyword", "metadata.b.c": "float"})
    engine.close()
    engine = open_engine(tmp_path / "c.inb")
    assert engine.indexed_fields() == {"metadata.a": "keyword", "metadata.b.c": "float"}
    engine.close()


BREAK: dict[str, Callable[[Path], object]] = {
    "no shard": lambda folder: shutil.rmtree(folder / "shard"),
    "no configuration": lambda folder: (folder / "shard" / "edge_config.json").write_bytes(b""),
    "no log": lambda folder: [
        path.write_bytes(b"") for path in (folder / "shard" / "wal").iterdir()
    ],
}


@pytest.mark.parametrize("damage", BREAK)
def test_a_damaged_shard_is_an_engine_error(tmp_path: Path, damage: str) -> None:
    make(tmp_path / "c.inb").close()
    BREAK[damage](tmp_path / "c.inb")
    with pytest.raises(EngineError, match=r"could not open the collection at .*Qdrant Edge says"):
        open_engine(tmp_path / "c.inb")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_damaged_registry_says_which_file_it_is(tmp_path: Path, content: bytes) -> None:
    make(tmp_path / "c.inb").close()
    (tmp_path / "c.inb" / "registry.json").write_bytes(content)
    engine = open_engine(tmp_path / "c.inb")
    with pytest.raises(CollectionError, match=r"the registry .*registry\.json cannot be read"):
        engine.read_registry()
    engine.close()


def test_a_folder_without_its_registry_is_no_collection(tmp_path: Path) -> None:
    make(tmp_path / "c.inb").close()
    (tmp_path / "c.inb" / "registry.json").unlink()
    with pytest.raises(CollectionNotFound, match=r"any more: its registry\.json is gone"):
        open_engine(tmp_path / "c.inb")


def test_another_tools_registry_json_is_no_collection(tmp_path: Path) -> None:
    mine = {"packages": ["a", "b"]}
    (tmp_path / "registry.json").write_text(json.dumps(mine))
    with pytest.raises(CollectionError, match=str(tmp_path)):
        open_engine(tmp_path)
    assert names(tmp_path) == ["registry.json"]
    assert json.loads((tmp_path / "registry.json").read_text()) == mine


def test_a_change_of_vectors_that_was_cut_short_is_undone_when_the_folder_is_opened(
    tmp_path: Path,
) -> None:
    """The copy is there: the process died between it and the end of the change."""
    folder = tmp_path / "c.inb"
    engine = create_engine(folder, {"a": 2}, {})
    engine.upsert([Point(str(UUID(int=1)), {"k": 1}, {"a": np.array([1, 0], np.float32)})])
    engine.flush()
    shutil.copytree(folder / "shard", folder / "shard.before")
    engine.close()
    (folder / "shard" / "edge_config.json").unlink(missing_ok=True)
    again = open_engine(folder)
    assert again.count() == 1
    assert not (folder / "shard.before").exists()
    again.add_vectors({"b": 2})
    assert again.count(lacking=["b"]) == 1
    assert names(folder) == [".lock", "registry.json", "shard"]
    again.close()


def test_a_change_of_vectors_that_is_refused_takes_nothing_back_later(tmp_path: Path) -> None:
    """The process lives on and writes; the copy from before must be gone by then."""
    folder = tmp_path / "c.inb"
    engine = create_engine(folder, {"a": 2}, {})
    with pytest.raises(RuntimeError, match="refused"), engine._restorable():
        raise RuntimeError("refused")
    engine.upsert([Point(str(UUID(int=1)), {"k": 1}, {"a": np.array([1, 0], np.float32)})])
    engine.flush()
    engine.close()
    again = open_engine(folder)
    assert again.count() == 1
    again.close()
