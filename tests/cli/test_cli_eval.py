"""`inbedder eval` on small files, with the packaged model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inbedder_retrieval import Embedder
from inbedder_retrieval.cli_eval import read_tasks
from inbedder_retrieval.errors import InputError
from inbedder_retrieval.evaluation.clusters import Protocol
from inbedder_retrieval.evaluation.contenders import of_embedder
from inbedder_retrieval.evaluation.measure import score_task
from tests.cli.commands import Run, refused
from tests.conftest import write_jsonl

THINGS = ("phone", "lamp", "kettle")
MESSAGES = [f"My {thing} {what}." for thing in THINGS for what in ("broke", "is late", "is fine")]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A small file of each kind; the one for clusters has a broken row."""
    labelled: list[dict[str, object]] = [
        {"text": text, "label": text.split()[1], "instruction": "Which product is it about?"}
        for text in MESSAGES
    ]
    pairs: list[dict[str, object]] = [
        {"text1": MESSAGES[0], "text2": text, "score": 3 - k // 3}
        for k, text in enumerate(MESSAGES)
    ]
    about: dict[str, object] = {"condition": "Which product is it about?"}
    conditional = [row | about for row in pairs]
    triplets: list[dict[str, object]] = [
        {"anchor": MESSAGES[0], "positive": MESSAGES[1], "negative": MESSAGES[3]},
        {"anchor": MESSAGES[3], "positive": MESSAGES[0], "negative": MESSAGES[4]},
    ]
    found: list[dict[str, object]] = [{"query": "a broken phone", "text": MESSAGES[0]}]
    found += [{"text": text} for text in MESSAGES]
    rows: dict[str, list[dict[str, object]]] = {
        "clustering": [*labelled, {"text": "no label"}],
        "csts": conditional,
        "sts": pairs,
        "triplets": triplets,
        "retrieval": found,
    }
    return {kind: write_jsonl(tmp_path / f"{kind}.jsonl", some) for kind, some in rows.items()}


def test_every_kind_is_scored_shown_and_written(
    run: Run, files: dict[str, Path], tmp_path: Path, packaged: Embedder
) -> None:
    given = [option for kind, file in files.items() for option in ("--task", f"{kind}={file}")]
    out, page = tmp_path / "scores.json", tmp_path / "scores.html"
    options = ["--seeds", "2", "--skip-bad", "--question", "Which product is it about?"]
    said = run("eval", "inbedder-minilm", *given, *options, "--json", out, "--report", page)
    assert said.code == 0
    assert f"{files['clustering']}, line 10: there is no field 'label'" in said.err
    report: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert report["contenders"] == ["inbedder-minilm", "inbedder-minilm, no question"]
    assert [task["name"] for task in report["tasks"]] == list(files)
    scores = {(one["task"], one["contender"]): one["value"] for one in report["scores"]}
    tasks = read_tasks(given[1::2], question="Which product is it about?", skip_bad=True)
    for contender in of_embedder(packaged, "inbedder-minilm"):
        for task in tasks:
            # A file without an instruction is asked the one given, but for plain similarity.
            if task.kind == "sts" and contender.asks:
                continue
            expected, _ = score_task(task, contender, Protocol(seeds=2))
            assert scores.pop((task.name, contender.name)) == pytest.approx(expected.value)
            assert f"{expected.value:.1f}" in said.out
    assert scores == {}
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_sets_that_are_known_take_a_file_and_names_are_told_apart(
    files: dict[str, Path],
) -> None:
    tasks = read_tasks(
        [
            f"nyt={files['clustering']}",
            f"sts={files['sts']}",
            f"sts={files['sts']}",
            f"sts={files['sts']}",
            "demo",
        ],
        skip_bad=True,
    )
    assert [(task.name, task.kind) for task in tasks] == [
        ("nyt", "clustering"),
        ("sts", "sts"),
        ("sts-2", "sts"),
        ("sts-3", "sts"),
        ("demo", "clustering"),
    ]
    with pytest.raises(InputError, match="a file after the ="):
        read_tasks(["sts="])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--task", "mood=x.jsonl"], "'mood=x.jsonl'; write KIND=FILE with a kind of clustering"),
        (["--task", "sts"], "one of demo, awareness, instructstsb"),
        (["--task", "demo=x.jsonl"], "write KIND=FILE"),
        (["--task", "sts=none.jsonl"], "no file none.jsonl"),
        (["--task", "clustering={clustering}"], r"line 10: .*--skip-bad.*: 1 row of 10"),
        (["--task", "sts={sts}", "--most", "1"], "draw 2 or more"),
        (["--seeds", "0"], "0 seeds"),
        (["--starts", "0"], "0 starts"),
        (["--instructions", "lists.json"], "--instructions is for --robustness"),
        (["--robustness", "--instructions", "none.json"], "none.json cannot be read"),
        (["--report", "page.txt"], "no .html file"),
        (["--json", "missing/scores.json"], "--json missing/scores.json"),
        (["--question", " "], "--question is empty"),
        (["--task", "sts={sts}", "--beside", "inbedder-minilm"], "two models are called"),
        (["--task", "sts={sts}", "--beside", "nothing"], "no model 'nothing'"),
    ],
)
def test_bad_input_is_one_line(
    run: Run,
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(run("eval", "inbedder-minilm", *(one.format(**files) for one in argv)), message)
