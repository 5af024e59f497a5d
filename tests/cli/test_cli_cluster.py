"""`inbedder cluster`, run as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inbedder_retrieval import ViewCollection, Where
from tests.cli.commands import FEELING, ROWS, Run, refused
from tests.conftest import write_jsonl


def test_a_collection_is_clustered_drawn_kept_and_labelled(
    run: Run, own: Path, tmp_path: Path
) -> None:
    files = [tmp_path / name for name in ("r.html", "r.svg", "c.json")]
    out, plot, save = files
    given = ["--view", "need", "--k", "2", "--out", out, "--plot", plot, "--save", save]
    said = run("cluster", own, *given, "--label")
    assert said.code == 0, said.err
    assert "2 clusters, silhouette" in said.out
    assert f"{len(ROWS)} documents labelled" in said.out
    assert all(f"wrote {file}" in said.out for file in files)
    names = [one["name"] for one in json.loads(save.read_text())["clusters"]]
    assert any("refund" in name for name in names)
    assert any("bill" in name for name in names)
    assert all(name in said.out for name in names)
    with ViewCollection.open(own) as collection:
        counts = [collection.count(Where.field("need_cluster") == k) for k in range(2)]
    assert counts == [20, 20]
    new = write_jsonl(tmp_path / "new.jsonl", [{"id": "n", "text": "I want my money back!"}])
    [row] = json.loads(run("cluster", "apply", save, new, "--json").out)
    assert row["id"] == "n"
    assert "refund" in row["name"]
    assert row["name"] in run("cluster", "apply", save, new).out


def test_two_views_are_held_against_each_other(run: Run, indexed: Path) -> None:
    said = run("cluster", indexed, "-v", "feeling", "-v", "need", "--k", "2", "--json")
    found = json.loads(said.out)
    assert found["documents"] == len(ROWS)
    assert [one["view"] for one in found["views"]] == ["feeling", "need"]
    [crossed] = found["crosses"]
    assert sum(map(sum, crossed["counts"])) == len(ROWS)
    shown = run("cluster", indexed, "-v", "feeling", "-v", "need", "--k", "2").out
    assert "feeling x need" in shown


def test_a_file_is_clustered_without_a_collection(run: Run, source: Path, indexed: Path) -> None:
    of_file = json.loads(run("cluster", source, "--view", FEELING, "--k", "3", "--json").out)
    stored = json.loads(run("cluster", indexed, "--view", "feeling", "--k", "3", "--json").out)
    assert of_file["views"] == stored["views"]


def test_conditions_narrow_what_is_clustered(run: Run, indexed: Path) -> None:
    said = run("cluster", indexed, "-v", "need", "--k", "2", "--where", "product=lamp", "--json")
    assert json.loads(said.out)["documents"] == 8


def test_noise_is_said_to_be_noise(run: Run, indexed: Path) -> None:
    given = ["cluster", indexed, "-v", "feeling", "--method", "hdbscan"]
    found = json.loads(run(*given, "--json").out)["views"][0]
    noise = [one for one, label in found["labels"].items() if label == -1]
    said = run(*given).out
    assert (f"noise  {len(noise)} " in said) == bool(noise)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no view was given"),
        (["-v", "mood"], "the collection has general, feeling, need"),
        (["-v", "mood=What?"], "is a collection; name one of its views"),
        (["-v", "need", "--k", "many"], "--k is 'many'"),
        (["-v", "need", "--k", "0"], "k is 0"),
        (["-v", "need", "--k", "41"], "there are 40 different documents|different documents"),
        (["-v", "need", "--method", "magic"], "choose kmeans or hdbscan"),
        (["-v", "need", "--method", "hdbscan", "--k", "2"], "leave k out"),
        (["-v", "need", "-v", "feeling", "--save", "c.json"], "give one --view"),
        (["-v", "need", "--plot", "c.jpg"], r"ends in \.png"),
        (["-v", "need", "--out", "no/such/r.html"], "a folder that does not exist"),
        (["-v", "need", "--where", "product=piano"], "fits the filter"),
        (["-v", "need", "--model", "x"], "a collection knows its model"),
    ],
)
def test_bad_input_is_refused_on_one_line(
    run: Run, indexed: Path, options: list[str], message: str
) -> None:
    refused(run("cluster", indexed, *options), message)


def test_what_only_a_collection_has_is_refused_for_a_file(run: Run, source: Path) -> None:
    refused(run("cluster", source, "-v", FEELING, "--where", "a=1"), "--where is for collections")
    refused(run("cluster", source, "-v", FEELING, "--label"), "index it first")
    refused(run("cluster", source, "-v", "feeling"), "write name=question")
    refused(run("cluster", "nothing.jsonl", "-v", FEELING), "nothing.jsonl")
    refused(run("cluster", "apply", source, source), "holds no clusters")


def test_help_names_both_commands(run: Run) -> None:
    for arguments in ([], ["--help"]):
        said = run("cluster", *arguments)
        assert said.code == 0
        assert "apply" in said.out
        assert "make" in said.out
