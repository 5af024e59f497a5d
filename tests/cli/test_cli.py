from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from inbedder_retrieval import Embedder, Embeddings, ViewCollection, __version__
from inbedder_retrieval.cli import main
from tests.cli.commands import (
    FEELING,
    NEED,
    QUERY,
    QUESTIONS,
    ROWS,
    TEXTS,
    VIEWS,
    Run,
    Said,
    refused,
    stored,
)
from tests.conftest import write_jsonl


def test_indexing_again_writes_nothing_and_says_so(run: Run, source: Path, tmp_path: Path) -> None:
    location = tmp_path / "c.inb"
    first = run("index", source, "--to", location, *VIEWS)
    assert first.code == 0
    assert first.out.startswith("40 added in ")
    assert f"{location} holds 40 documents under general, feeling, need." in first.out
    again = run("index", source, "--to", location)
    assert again.code == 0
    assert again.out.startswith("40 unchanged in ")
    assert "Nothing was written" in again.out
    assert stored(location) == 40


def test_indexing_an_edited_file_writes_what_changed(
    run: Run, source: Path, indexed: Path, tmp_path: Path
) -> None:
    location = shutil.copytree(indexed, tmp_path / "c.inb")
    rows = [dict(row) for row in ROWS]
    rows[3]["text"] = "Another text."
    rows[5]["price"] = 99
    rows += [{"id": "new", "text": "New here."}, {"id": "r7", "text": "Again, and this counts."}]
    edited = write_jsonl(tmp_path / "edited.jsonl", rows)
    report = json.loads(run("index", edited, "--to", location, "--json").out)
    counts = {"added": 1, "updated": 2, "relabelled": 1, "unchanged": 37, "duplicates": 1}
    assert {key: report[key] for key in counts} == counts
    assert report["documents"] == 41
    with ViewCollection.open(location) as collection:
        found = collection.get(["r3", "r5", "r7"])
    assert [document.text for document in found] == [
        "Another text.",
        TEXTS[5],
        "Again, and this counts.",
    ]
    assert found[1].metadata["price"] == 99


def test_embed_writes_the_vectors_of_the_library(
    run: Run, source: Path, tmp_path: Path, expected: Embeddings
) -> None:
    path = tmp_path / "vectors.npz"
    said = run("embed", source, "--out", path, *VIEWS)
    assert said.code == 0
    assert "40 texts x 3 views x 384 numbers" in said.out
    with np.load(path) as arrays:
        assert list(arrays) == ["ids", *QUESTIONS.names]
        assert arrays["ids"].tolist() == [row["id"] for row in ROWS]
        for name in QUESTIONS.names:
            assert arrays[name].dtype == np.float32
            np.testing.assert_allclose(arrays[name], expected[name], atol=1e-6)


@pytest.mark.parametrize("name", ["file", "arr_0", "allow_pickle", "self"])
def test_any_view_name_can_be_embedded(run: Run, tmp_path: Path, name: str) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}])
    path = tmp_path / "v.npz"
    assert run("embed", source, "--out", path, "--view", f"{name}=What is it?").code == 0
    with np.load(path) as arrays:
        assert arrays[name].shape == (1, 384)


def test_explain_shows_the_answer_words_heaviest_first(run: Run, packaged: Embedder) -> None:
    asked = {name: QUESTIONS[name].instruction for name in ("feeling", "need")}
    said = run("explain", QUERY, "--view", FEELING, "--view", NEED, "--top", 4, "--json")
    found = json.loads(said.out)
    vectors = packaged.embed([QUERY], asked)
    assert list(found) == list(asked)
    for name, words in found.items():
        weights = [word["weight"] for word in words]
        assert len(words) == 4
        assert weights == sorted(weights, reverse=True)
        assert 0 < sum(weights) <= 1
        [answers] = packaged.explain(vectors[name], top=4)
        assert [word["word"] for word in words] == [answer.word for answer in answers]
    assert found["feeling"][0]["word"] in {"anger", "angry", "annoyed", "frustration", "furious"}
    shown = run("explain", QUERY, "--view", FEELING, "--view", NEED, "--top", 4).out
    shares = [float(share) for share in re.findall(r"^ +([\d.]+)%  \w", shown, re.MULTILINE)]
    assert shares == [
        pytest.approx(100 * word["weight"], abs=0.06) for words in found.values() for word in words
    ]


@pytest.mark.parametrize("name", ["my[red]notes.inb", "a[bold].inb", "see:heart:.inb"])
def test_a_name_is_shown_as_it_is(run: Run, source: Path, tmp_path: Path, name: str) -> None:
    location = tmp_path / name
    said = run("index", source, "--to", location, "--view", "general", "--json")
    assert said.code == 0
    said = run("index", source, "--to", location)
    assert f"{location} holds 40 documents" in said.out
    npz = location.with_suffix(".npz")
    assert f"{npz}: 40 texts" in run("embed", source, "--out", npz, "--view", "general").out


def test_a_name_may_look_like_a_closing_tag(run: Run, source: Path, tmp_path: Path) -> None:
    (tmp_path / "a[").mkdir()
    location = tmp_path / "a[" / "b].inb"
    assert run("index", source, "--to", location, "--view", "general").code == 0


def test_the_command_that_is_shown_can_be_typed(run: Run, source: Path, tmp_path: Path) -> None:
    location = tmp_path / "my notes.inb"
    said = run("index", source, "--to", location, "--view", "the mood=How does the writer feel?")
    [shown] = re.findall(r"^Search it: inbedder (.*)$", said.out, re.MULTILINE)
    assert run(*shlex.split(shown)).code == 0


def test_one_text_is_not_spoken_of_as_many(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "a.md"
    source.write_text("# One", encoding="utf-8")
    said = run("index", source, "--to", tmp_path / "c.inb", "--view", "general")
    assert "holds 1 document under general." in said.out
    said = run("embed", source, "--out", tmp_path / "v.npz", "--view", "general")
    assert "1 text x 1 view x 384 numbers" in said.out


def test_lines_that_are_repeated_are_called_so(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("one\ntwo\none\none\n", encoding="utf-8")
    said = run("index", source, "--to", tmp_path / "c.inb", "--view", "general")
    assert said.err == "repeated word for word and counted once: 2 rows\n"


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version") == Said(0, f"inbedder {__version__}\n", "")


def test_help_names_what_is_to_be_typed(run: Run) -> None:
    said = run("index", "--help").out
    for shown in ("inbedder index", "SOURCE", "--to LOCATION", 'NAME="QUESTION"', "cut|error"):
        assert shown in said
    assert "--no-skip-bad" not in said
    assert re.search("inbedder search .*LOCATION.* .*QUERY", run("search", "--help").out)


@pytest.mark.parametrize(
    ("argv", "commands"),
    [
        ([], ["demo", "index", "search", "embed", "explain", "info", "export", "views"]),
        (["--help"], ["index", "search"]),
        (["views"], ["list"]),
    ],
)
def test_help_lists_the_commands(run: Run, argv: list[str], commands: list[str]) -> None:
    said = run(*argv)
    assert (said.code, said.err) == (0, "")
    for command in commands:
        assert re.search(rf"^ +{command} ", said.out, re.MULTILINE)


def shell(*argv: object, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inbedder_retrieval", *map(str, argv)],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | environment,
        check=False,
    )


@pytest.mark.parametrize(
    "stdin", ['{"id": 1, "text": "grün"}\n\n{"id": 2, "text": "b"}\n', "grün\n\n b \n"]
)
def test_the_command_reads_standard_input(tmp_path: Path, stdin: str) -> None:
    done = shell("index", "-", "--to", tmp_path / "c.inb", "--view", "general", stdin=stdin)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    with ViewCollection.open(tmp_path / "c.inb") as collection:
        assert {hit.text for hit in collection.search("a")} == {"grün", "b"}


def test_the_exit_code_of_the_process_tells_bad_input(tmp_path: Path) -> None:
    done = shell("index", "-", "--to", tmp_path / "c.inb", "--view", "general", stdin="\n")
    refused(Said(done.returncode, done.stdout, done.stderr), "standard input holds no text")


@pytest.mark.parametrize("form", ["--json", "--words=0"])
def test_a_terminal_that_lacks_a_character_is_no_reason_to_fail(tmp_path: Path, form: str) -> None:
    """Windows redirects into a file as cp1252."""
    text = "happy \U0001f600 日本語"
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": text}])
    assert main(["index", str(source), "--to", str(tmp_path / "c.inb"), "--view", "general"]) == 0
    done = shell("search", tmp_path / "c.inb", "happy", form, PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stderr) == (0, "")
    if form == "--json":
        assert json.loads(done.stdout)[0]["text"] == text


@pytest.mark.skipif(os.name == "nt", reason="there are no terminals and signals like these")
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_an_interrupted_index_is_finished_by_the_same_command(
    run: Run, tmp_path: Path, how: str
) -> None:
    import pty

    # So many that it is still at it when the signal comes, also on a busy machine.
    total = 8_000
    source = write_jsonl(
        tmp_path / "a.jsonl", [{"id": k, "text": f"note {k} of many"} for k in range(total)]
    )
    argv = ["index", str(source), "--to", str(tmp_path / "c.inb"), "--view", "general"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "inbedder_retrieval", *argv],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    while f"512/{total}".encode() not in (shown := os.read(ours, 4096)):
        pass
    process.send_signal(getattr(signal, how))
    with suppress(OSError):  # A terminal without a process has no end of file, but an error.
        while block := os.read(ours, 4096):
            shown += block
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert out == b""
    if how == "SIGKILL":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        said = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.decode(errors="replace"))
        assert said.rstrip().splitlines()[-1].startswith("error: interrupted; ")
        assert said.count("error:") == 1
        assert "Traceback" not in said
    report = json.loads(run(*argv, "--json").out)
    assert report["added"] + report["unchanged"] == total
    assert report["unchanged"] >= 512
    assert report["added"] > 0
    assert report["documents"] == stored(tmp_path / "c.inb") == total
