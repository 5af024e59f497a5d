"""`inbedder copy`: between folders, servers and files, with what it says."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from inbedder_retrieval import ViewCollection
from inbedder_retrieval.collection.copies import copy_collection
from tests.cli.commands import QUERY, ROWS, Run, refused, stored
from tests.collection.copied import Stopped, stop_at
from tests.collection.qdrant_server import QdrantServer


def found(run: Run, location: str | Path) -> list[dict[str, Any]]:
    said = run("search", location, QUERY, "--view", "feeling", "--where", "price<50", "--json")
    assert said.code == 0, said.err
    hits: list[dict[str, Any]] = json.loads(said.out)
    return hits


def test_a_copy_there_and_back_finds_what_the_first_finds(
    run: Run, indexed: Path, tmp_path: Path
) -> None:
    first = shutil.copytree(indexed, tmp_path / "first.inb")
    before = found(run, first)
    assert len(before) == 10
    with QdrantServer() as server:
        way: list[str | Path] = [
            first,
            tmp_path / "a.parquet",
            f"{server.url}/rows",
            tmp_path / "last.inb",
        ]
        for source, target in itertools.pairwise(way):
            said = run("copy", source, target)
            assert (said.code, said.err) == (0, "")
            copied, holds = said.out.splitlines()
            assert re.fullmatch(r"40 copied in \d+\.\d s", copied)
            assert holds == (
                f"{target} holds 40 documents under general, feeling, need, and so does {source}."
            )
        for place in way[2:]:
            after = found(run, place)
            assert [hit.pop("score") for hit in after] == pytest.approx(
                [hit["score"] for hit in before], abs=1e-5
            )
            for hit, old in zip(after, before, strict=True):
                assert hit["scores"] == pytest.approx(old["scores"], abs=1e-5)
                assert (hit["id"], hit["text"]) == (old["id"], old["text"])
                assert hit["metadata"] == old["metadata"]


def test_json_has_every_count(run: Run, indexed: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.inb"
    report = json.loads(run("copy", indexed, target, "--json").out)
    assert report.pop("seconds") > 0
    assert report == {
        "source": str(indexed),
        "target": str(target),
        "documents": 40,
        "written": 40,
        "present": 0,
        "removed": 0,
        "views": ["general", "feeling", "need"],
        "building": [],
        "left_out": [],
    }


def test_a_half_copied_collection_names_the_command_that_finishes_it(
    run: Run, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inbedder_retrieval.collection.origin.FIRST_PAGE", 8)
    target = tmp_path / "it's mine.inb"
    with pytest.raises(Stopped):
        copy_collection(indexed, target, progress=stop_at(20))
    said = run("search", target, QUERY, "--view", "feeling")
    refused(said, "is a copy of .* that was not finished")
    [command] = re.findall(r"\(inbedder (.*?)\), or delete it", said.err)
    done = run(*shlex.split(command))
    assert done.code == 0
    assert re.match(r"16 copied, 24 there already in \d+\.\d s\n", done.out)
    assert stored(target) == len(ROWS)


def test_what_is_not_finished_in_the_source_is_remarked(
    run: Run, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shutil.copytree(indexed, tmp_path / "a.inb")
    monkeypatch.setattr("inbedder_retrieval.collection.backfill.BATCH_DOCUMENTS", 10)
    with ViewCollection.open(source) as collection:
        with pytest.raises(Stopped):
            collection.add_view({"city": "Which city is it?"}, progress=stop_at(20))
        with pytest.raises(Stopped):
            collection.rebuild_view({"need": "What is wanted?"}, progress=stop_at(20))
    said = run("copy", source, tmp_path / "b.inb")
    assert said.code == 0
    assert "view 'city' is not finished there either" in said.err
    assert "view 'need' is being rebuilt; the copy has it as it was" in said.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("a.inb ./a.inb", "are one place; give another to copy to"),
        ("missing.inb b.inb", r"there is no collection at missing\.inb"),
        ("missing.parquet b.inb", r"there is no file missing\.parquet"),
        ("rows.parquet b.inb", r"only rows; .*'inbedder index rows\.parquet --to LOCATION'"),
        ("a.inb rows.parquet", r"rows\.parquet is there already; give a name that is free"),
        ("a.inb taken", r"taken already holds other files"),
        (":memory: b.inb", ":memory: belongs to the object"),
        ("a.inb :memory:", ":memory: belongs to the object"),
        ("a.inb http://host:99999/c", "is no server address"),
        ("a.inb", "Missing argument"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(
    run: Run,
    indexed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    argv: str,
    message: str,
) -> None:
    from pyarrow import parquet, table

    shutil.copytree(indexed, tmp_path / "a.inb")
    parquet.write_table(table({"text": ["a"]}), tmp_path / "rows.parquet")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    refused(run("copy", *argv.split()), message)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_server_that_does_not_answer_is_a_fault_of_the_machine(
    run: Run, indexed: Path, tmp_path: Path
) -> None:
    with QdrantServer() as server:
        address = f"{server.url}/c"
    for pair in ((indexed, address), (address, tmp_path / "b.inb")):
        said = run("copy", *pair)
        assert (said.code, said.out) == (1, "")
        assert "no Qdrant server answers at" in said.err
    said = run("copy", indexed, tmp_path / "missing" / "b.parquet")
    assert said.code == 1
    assert "b.parquet cannot be written" in said.err
    assert list(tmp_path.iterdir()) == []
