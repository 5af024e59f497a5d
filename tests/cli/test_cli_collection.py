"""A collection is described, optimized and thinned out by command."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from inbedder_retrieval import Storage, ViewCollection
from tests.cli.commands import QUERY, QUESTIONS, ROWS, VIEWS, Run, Said, refused, stored
from tests.collection.qdrant_server import QdrantServer


@pytest.fixture
def served() -> Iterator[str]:
    """The address of a collection to be, on a server."""
    with QdrantServer() as server:
        yield f"{server.url}/rows"


def test_views_and_info_describe_the_collection(run: Run, indexed: Path) -> None:
    lines = run("views", "list", indexed).out.splitlines()
    assert [line.split()[0] for line in lines] == QUESTIONS.names
    assert lines[1].endswith("  How does the customer feel?")
    views = json.loads(run("views", "list", indexed, "--json").out)
    assert [(view["name"], view["instruction"], view["dimension"]) for view in views] == [
        (view.name, view.instruction, 384) for view in QUESTIONS
    ]
    info = json.loads(run("info", indexed, "--json").out)
    assert (info["location"], info["documents"]) == (str(indexed), 40)
    assert info["views"] == views
    shown = run("info", indexed).out
    assert re.search(r"^documents +40$", shown, re.MULTILINE)
    assert re.search(r"^views +general, feeling, need$", shown, re.MULTILINE)


def test_info_without_a_collection_says_what_models_run_on(run: Run) -> None:
    found = json.loads(run("info", "--json").out)
    assert (found["model"], found["backend"]) == ("inbedder-minilm", "onnx")
    assert (found["precision"], found["device"]) == ("int8", "cpu")
    shown = run("info").out
    assert re.search(r"^runs on +onnx int8 on cpu, \d+ threads?$", shown, re.MULTILINE)
    assert f"inbedder-retrieval {version('inbedder-retrieval')}" in shown


def test_info_shows_how_a_collection_is_stored_and_what_is_indexed(
    run: Run, source: Path, tmp_path: Path
) -> None:
    location = tmp_path / "c.inb"
    options = ["--quantization", "scalar", "--tenant", "product"]
    assert run("index", source, "--to", location, *VIEWS, *options).code == 0
    assert run("search", location, QUERY, "-v", "need", "--where", "price<50").code == 0
    shown = run("info", location).out
    assert re.search(r"^storage +quantization scalar, tenant product$", shown, re.MULTILINE)
    assert re.search(r"^indexes +price, product$", shown, re.MULTILINE)
    found = json.loads(run("info", location, "--json").out)
    assert found["storage"]["quantization"] == "scalar"
    assert found["indexed_fields"] == ["price", "product"]
    assert found["lacking"] == {}


def test_info_says_that_nothing_was_chosen(run: Run, indexed: Path) -> None:
    shown = run("info", indexed).out
    assert re.search(r"^storage +as Qdrant has it by default$", shown, re.MULTILINE)


def test_storage_is_chosen_when_a_collection_is_created(
    run: Run, source: Path, tmp_path: Path
) -> None:
    location = tmp_path / "c.inb"
    options = ["--quantization", "turbo", "--tenant", "product"]
    assert run("index", source, "--to", location, *VIEWS, *options).code == 0
    with ViewCollection.open(location) as collection:
        assert collection.info().storage == Storage(quantization="turbo", tenant="product")
    for same in ([], options, options[:2]):
        assert run("index", source, "--to", location, *same).code == 0
    other = ["--to", location, "--quantization", "binary"]
    refused(run("index", source, *other), "created with quantization turbo, .* leave --quant")
    assert stored(location) == 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--quantization", "tiny"], "--quantization is 'tiny'; choose scalar, binary or turbo"),
        (["--tenant", " "], "--tenant is empty"),
        (["--tenant", 'a"b'], "a\\W+b"),
    ],
)
def test_storage_that_cannot_be_leaves_nothing_behind(
    run: Run, source: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    refused(run("index", source, "--to", tmp_path / "c.inb", *VIEWS, *options), message)
    assert not (tmp_path / "c.inb").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--quantization", "scalar"], "was created with no quantization"),
        (["--tenant", "product"], "was created with no tenant"),
    ],
)
def test_the_storage_of_a_collection_that_is_there_does_not_change(
    run: Run, source: Path, own: Path, options: list[str], message: str
) -> None:
    refused(run("index", source, "--to", own, *options), message)
    assert "quantization" not in run("info", own).out


def test_documents_are_deleted_by_id(run: Run, own: Path) -> None:
    said = run("delete", own, "--id", "r0", "--id", "r7", "--id", "gone", "--yes")
    assert said == Said(0, f"2 documents deleted; {own} holds 38.\n", "")
    with ViewCollection.open(own) as collection:
        assert collection.get(["r0", "r7"]) == []
        assert collection.count() == 38
    said = run("delete", own, "--id", "r0", "--yes")
    assert said == Said(0, "No document fits --id; nothing was deleted.\n", "")


def test_documents_are_deleted_by_condition(run: Run, own: Path) -> None:
    fitting = {row["id"] for row in ROWS if row["product"] == "lamp" and row["new"]}
    options = ["--where", "product=lamp", "--where", "new=true", "--yes"]
    answer = json.loads(run("delete", own, *options, "--json").out)
    assert answer == {"deleted": len(fitting), "documents": 40 - len(fitting)}
    with ViewCollection.open(own) as collection:
        left = {document.id for document in collection.get(row["id"] for row in ROWS)}
    assert left == {row["id"] for row in ROWS} - fitting
    assert json.loads(run("delete", own, *options, "--json").out)["deleted"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--id or --where, and not both"),
        (["--yes"], "--id or --where, and not both"),
        (["--all", "--yes"], "--id or --where, and not both"),
        (["--id", "r0", "--where", "new=true"], "--id or --where, and not both"),
        (["--id", "", "--yes"], "id is empty"),
        (["--where", "", "--yes"], "write field=value"),
        (["--where", "price>=0", "--yes"], r"every document \(40 documents\), .*add --all"),
        (["--where", "new!=maybe", "--yes", "--json"], "every document"),
        (["--id", "r0", "--json"], "1 document of 40 would be deleted.* add --yes"),
    ],
)
def test_nothing_is_deleted_by_accident(
    run: Run, indexed: Path, options: list[str], message: str
) -> None:
    refused(run("delete", indexed, *options), message)
    assert stored(indexed) == 40


def test_everything_is_deleted_where_that_is_said(run: Run, own: Path) -> None:
    assert run("delete", own, "--where", "price>=0", "--yes", "--all").code == 0
    assert stored(own) == 0


def at_a_terminal(typed: str, *argv: object) -> Said:
    """Run a command whose standard input is a terminal where this is typed."""
    import pty

    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    done = subprocess.run(
        [sys.executable, "-m", "inbedder_retrieval", *map(str, argv)],
        stdin=theirs,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    os.close(theirs)
    os.close(ours)
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.skipif(os.name == "nt", reason="there are no terminals like these")
def test_who_sits_at_a_terminal_is_asked(own: Path) -> None:
    asked = "Delete 20 documents of 40? [y/N] "
    said = at_a_terminal("n\n", "delete", own, "--where", "new=true")
    assert said == Said(0, "nothing was deleted.\n", asked)
    said = at_a_terminal("\n", "delete", own, "--where", "price>=0")
    assert said == Said(0, "nothing was deleted.\n", "Delete ALL 40 documents? [y/N] ")
    assert stored(own) == 40
    said = at_a_terminal("y\n", "delete", own, "--where", "new=true")
    assert said == Said(0, f"20 documents deleted; {own} holds 20.\n", asked)
    assert stored(own) == 20


def test_who_cannot_be_asked_is_refused(own: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "inbedder_retrieval", "delete", str(own), "--id", "r0"],
        input="y\n",
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    refused(Said(done.returncode, done.stdout, done.stderr), "nobody can be asked here")
    assert stored(own) == 40


def test_a_folder_is_optimized_and_finds_the_same(run: Run, own: Path) -> None:
    before = run("search", own, QUERY, "-v", "feeling", "--json").out
    said = run("optimize", own)
    assert (said.code, said.err) == (0, "")
    first, second = said.out.splitlines()
    assert re.fullmatch(
        rf"{re.escape(str(own))}: 40 documents under 3 views optimized in \d+\.\d s", first
    )
    assert second.startswith("Searches walk its graphs now;")
    answer = json.loads(run("optimize", own, "--json").out)
    assert answer["documents"] == 40
    assert answer["engine"].startswith("edge ")
    after = json.loads(run("search", own, QUERY, "-v", "feeling", "--json").out)
    assert [hit["id"] for hit in after] == [hit["id"] for hit in json.loads(before)]


def test_a_server_is_written_searched_and_thinned_out_likewise(
    run: Run, source: Path, indexed: Path, served: str
) -> None:
    assert run("index", source, "--to", served, *VIEWS, "--tenant", "product").code == 0
    shown = run("info", served).out
    assert re.search(r"^engine +server ", shown, re.MULTILINE)
    assert re.search(r"^storage +tenant product$", shown, re.MULTILINE)
    assert run("optimize", served).out.splitlines()[-1].startswith("The server has built")
    argv = [QUERY, "-v", "need", "--top", 3, "--json"]
    [ours, theirs] = [json.loads(run("search", at, *argv).out) for at in (indexed, served)]
    assert [hit["id"] for hit in theirs] == [hit["id"] for hit in ours]
    assert run("delete", served, "--where", "product=lamp", "--yes").out.startswith("8 documents")
    assert json.loads(run("info", served, "--json").out)["documents"] == 32


@pytest.mark.parametrize("command", ["info", "optimize", "delete --id x"])
def test_a_collection_that_is_not_there_is_bad_input(run: Run, command: str) -> None:
    name, *options = command.split()
    refused(run(name, "nowhere.inb", *options), "no collection at nowhere.inb")
