"""Views are listed, added, rebuilt, renamed and dropped by command."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from inbedder_retrieval import Embedder, ViewCollection, Views
from tests.cli.commands import QUERY, QUESTIONS, TEXTS, Run, refused
from tests.conftest import write_jsonl

MANY = 600
# As many as are written before the first word of progress.
BATCH = 512


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, packaged: Embedder) -> Path:
    """More documents than one batch, whose view `mood` was begun. Do not write to it."""
    folder = tmp_path_factory.mktemp("many")
    rows: list[dict[str, object]] = [{"id": k, "text": f"note {k}"} for k in range(MANY)]
    source, location = write_jsonl(folder / "many.jsonl", rows), folder / "many.inb"
    from inbedder_retrieval.cli import main

    assert main(["index", str(source), "--to", str(location), "--view", "topic=What is it?"]) == 0
    with (
        ViewCollection.open(location, packaged) as collection,
        pytest.raises(KeyboardInterrupt),
    ):
        collection.add_view({"mood": "How is it?"}, progress=interrupt)
    return location


def interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def begun(many: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(many, tmp_path / "begun.inb"))


def test_a_view_is_added_to_a_collection_and_dropped_again(
    run: Run, indexed: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(indexed, tmp_path / "copy.inb"))
    said = run("views", "add", copy, "--view", "place=Which place is it about?", "--json")
    added = json.loads(said.out)
    assert (added["embedded"], added["views"]) == (40, [*QUESTIONS.names, "place"])
    again = run("views", "add", copy, "--view", "place=Which place is it about?")
    assert again.out.startswith("0 documents embedded in ")
    assert len(json.loads(run("search", copy, QUERY, "--view", "place", "--json").out)) == 10
    other = run("views", "add", copy, "--view", "place=Where?")
    assert other.code == 2
    assert "asks 'Which place is it about?', not 'Where?'" in other.err
    assert "place is gone" in run("views", "drop", copy, "place").out
    assert run("views", "drop", copy, "place").code == 2
    assert json.loads(run("info", copy, "--json").out)["documents"] == 40


def test_a_view_that_is_being_built_is_shown_with_what_it_lacks(run: Run, begun: Path) -> None:
    lacking = MANY - BATCH
    lines = run("views", "list", begun).out.splitlines()
    assert lines == [
        "topic  What is it?",
        f"mood   How is it? [being built: {lacking} documents lack it]",
    ]
    rows = json.loads(run("views", "list", begun, "--json").out)
    assert [(row["name"], row["state"], row.get("lacking")) for row in rows] == [
        ("topic", "ready", None),
        ("mood", "building", lacking),
    ]
    shown = run("info", begun).out
    assert f"views      topic, mood [being built: {lacking} documents lack it]" in shown
    refused(run("search", begun, QUERY, "-v", "mood"), "is being built.*, which is --partial here")
    said = run("search", begun, QUERY, "-v", "mood", "--partial", "--top", MANY, "--json")
    assert len(json.loads(said.out)) == BATCH
    finished = json.loads(run("views", "add", begun, "--view", "mood=How is it?", "--json").out)
    assert finished["embedded"] == lacking
    assert "being" not in run("views", "list", begun).out


def test_a_rebuild_that_was_begun_is_shown_and_finished(
    run: Run, begun: Path, packaged: Embedder
) -> None:
    lacking = MANY - BATCH
    with ViewCollection.open(begun, packaged) as collection, pytest.raises(KeyboardInterrupt):
        collection.rebuild_view({"topic": "What was it?"}, progress=interrupt)
    first = run("views", "list", begun).out.splitlines()[0]
    assert first == (
        f'topic  What is it? [being rebuilt as "What was it?": {lacking} documents lack the new '
        "vector]"
    )
    [row, _] = json.loads(run("views", "list", begun, "--json").out)
    assert (row["state"], "lacking" in row) == ("ready", False)
    coming = row["rebuilding"]
    assert (coming["instruction"], coming["lacking"]) == ("What was it?", lacking)
    said = run("views", "rebuild", begun, "--view", "topic=What was it?", "--json")
    assert json.loads(said.out)["embedded"] == lacking
    assert run("views", "list", begun).out.splitlines()[0] == "topic  What was it?"


def test_a_view_is_rebuilt_with_another_question(run: Run, own: Path, packaged: Embedder) -> None:
    said = run("views", "rebuild", own, "--view", "need=What is wished for?")
    assert (said.code, said.err) == (0, "")
    assert re.match(r"40 documents embedded in \d+\.\d s\n", said.out)
    assert f"{own} holds need anew, by inbedder-minilm.\n" in said.out
    asked = Views.of({"need": "What is wished for?"})
    cosines = packaged.embed(TEXTS, asked)["need"] @ packaged.embed([QUERY], asked)["need"][0]
    hits = json.loads(run("search", own, QUERY, "-v", "need", "--top", 5, "--json").out)
    assert [int(hit["id"][1:]) for hit in hits] == list(np.argsort(-cosines)[:5])
    names = [row["name"] for row in json.loads(run("views", "list", own, "--json").out)]
    assert names == QUESTIONS.names


def test_views_are_rebuilt_as_they_are(run: Run, own: Path, tmp_path: Path) -> None:
    before = json.loads(run("views", "list", own, "--json").out)
    one = json.loads(run("views", "rebuild", own, "--view", "feeling", "--json").out)
    assert (one["embedded"], one["rebuilt"], one["model"]) == (40, ["feeling"], "inbedder-minilm")
    every = json.loads(run("views", "rebuild", own, "--json").out)
    assert (every["embedded"], every["rebuilt"]) == (40, QUESTIONS.names)
    after = json.loads(run("views", "list", own, "--json").out)
    assert [row["instruction"] for row in after] == [row["instruction"] for row in before]
    assert not {row["vector"] for row in after} & {row["vector"] for row in before}
    file = tmp_path / "views.toml"
    file.write_text('[views]\nneed = "What now?"\n', encoding="utf-8")
    said = json.loads(run("views", "rebuild", own, "--views", file, "--json").out)
    assert said["rebuilt"] == ["need"]


def test_all_views_are_rebuilt_with_another_model(
    run: Run, own: Path, tiny_folder: Path, tiny: Embedder
) -> None:
    refused(
        run("views", "rebuild", own, "--view", "need", "--model", tiny_folder),
        "the views of a collection are of one model; rebuild all",
    )
    answer = json.loads(run("views", "rebuild", own, "--model", tiny_folder, "--json").out)
    assert (answer["rebuilt"], answer["embedded"]) == (QUESTIONS.names, 40)
    [row, *_] = json.loads(run("views", "list", own, "--json").out)
    assert (row["fingerprint"], row["dimension"]) == (tiny.fingerprint, tiny.dimension)


def test_a_view_is_renamed_and_keeps_its_vectors(run: Run, own: Path) -> None:
    before = json.loads(run("search", own, QUERY, "-v", "need", "--json").out)
    said = run("views", "rename", own, "need", "wish")
    assert said.out == f"need is wish now; {own} holds general, feeling, wish.\n"
    after = json.loads(run("search", own, QUERY, "-v", "wish", "--json").out)
    assert [hit["score"] for hit in after] == [hit["score"] for hit in before]
    answer = json.loads(run("views", "rename", own, "wish", "the need", "--json").out)
    assert answer == {
        "renamed": "wish",
        "to": "the need",
        "views": ["general", "feeling", "the need"],
    }


def test_a_view_is_dropped_and_told_as_json(run: Run, own: Path) -> None:
    answer = json.loads(run("views", "drop", own, "need", "--json").out)
    assert answer == {"dropped": "need", "views": ["general", "feeling"]}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["rename", "{c}", "need", "feeling"], "there is a view 'feeling' already"),
        (["rename", "{c}", "mood", "x"], "no view 'mood' here"),
        (["rename", "{c}", "need", "a/b"], "named 'a/b'"),
        (["rename", "{c}", "need"], "Missing argument 'NEW'"),
        (["rebuild", "{c}", "--view", "mood"], "no view 'mood' here"),
        (["rebuild", "{c}", "--view", "mood=Why?"], "no view 'mood' here"),
        (["rebuild", "{c}", "--view", "need="], "must hold some text"),
        (["rebuild", "{c}", "-v", "need", "-v", "need=Why?"], "'need' is given twice"),
        (["rebuild", "{c}", "-v", "need", "--views", "v.toml"], "both --view and --views"),
        (["rebuild", "{c}", "--model", "nothing"], "no model 'nothing'"),
        (["rebuild", "nowhere.inb"], "no collection at nowhere.inb"),
    ],
)
def test_bad_input_changes_no_view(run: Run, indexed: Path, argv: list[str], message: str) -> None:
    refused(run("views", *(str(indexed) if one == "{c}" else one for one in argv)), message)
    rows = json.loads(run("views", "list", indexed, "--json").out)
    assert [(row["name"], row["instruction"]) for row in rows] == [
        (view.name, view.instruction) for view in QUESTIONS
    ]
