"""`inbedder eval`: what was typed becomes tasks and contenders; scores are shown and written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from inbedder_retrieval import options
from inbedder_retrieval.arguments import check_file, check_text
from inbedder_retrieval.checkpoint import DEFAULT_MODEL
from inbedder_retrieval.console import status_line
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.errors import InputError
from inbedder_retrieval.evaluation.clusters import Protocol
from inbedder_retrieval.evaluation.contenders import (
    Contender,
    of_embedder,
    of_sentence_transformers,
)
from inbedder_retrieval.evaluation.measure import evaluate
from inbedder_retrieval.evaluation.page import render
from inbedder_retrieval.evaluation.published import AWARENESS, PUBLISHED_SETS, fetch_task
from inbedder_retrieval.evaluation.robustness import load_instructions
from inbedder_retrieval.evaluation.rows import KINDS
from inbedder_retrieval.evaluation.show import print_eval
from inbedder_retrieval.evaluation.tasks import Task, demo_task, read_task, sampled

__all__ = ["evaluate_model", "read_tasks"]

DEMO = "demo"
# All three of the paper's sets for instruction awareness.
AWARE = "awareness"

Model: TypeAlias = Annotated[
    str, typer.Argument(metavar="MODEL", help="A packaged model, a folder, or owner/name.")
]
Tasks: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        metavar="KIND=FILE|NAME",
        help=f"What to score on: {', '.join(KINDS)} with a file; {DEMO}; a published set "
        f"({', '.join(PUBLISHED_SETS)}, or {AWARE} for three), which may be given as NAME=FILE "
        f"too. May be given many times. [default: {DEMO}]",
    ),
]
Beside: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="MODEL", help="Another model for the table. May be given many times."),
]
SentenceTransformers: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--sentence-transformers",
        metavar="MODEL",
        help="A folder or name that sentence-transformers loads, likewise: the text alone, and "
        "with the question before it.",
    ),
]
Question: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Asked of rows that bring no instruction.")
]
Robust: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--robustness", help="Score clustering tasks that have lists under each instruction too."
    ),
]
Lists: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--instructions", metavar="FILE", help="A .json file of such lists, instead of our own."
    ),
]
Seeds: TypeAlias = Annotated[int, typer.Option(metavar="N", help="How many fits of clusters.")]
Centred: TypeAlias = Annotated[
    bool, typer.Option("--centred", help="Subtract the mean vector before clustering.")
]
Starts: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="N", help="Of how many starts a fit is the best. [default: one]"),
]
Most: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", help="Draw this many rows of longer tasks.")
]
Page: TypeAlias = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="An .html file to write as well.")
]


def evaluate_model(
    model: Model = DEFAULT_MODEL,
    task: Tasks = None,
    beside: Beside = None,
    sentence_transformers: SentenceTransformers = None,
    question: Question = None,
    robustness: Robust = False,
    instructions: Lists = None,
    seeds: Seeds = 10,
    centred: Centred = False,
    starts: Starts = None,
    most: Most = None,
    skip_bad: options.SkipBad = False,
    device: options.Device = "cpu",
    precision: options.Precision = None,
    backend: options.Backend = None,
    json_file: options.JsonFile = None,
    report_file: Page = None,
) -> None:
    """Score how well a model follows instructions, beside others."""
    for option, target in (("--json", json_file), ("--report", report_file)):
        if target is not None:
            check_file(target, option)
    if report_file is not None and report_file.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--report {report_file} is no .html file; name one")
    if question is not None:
        check_text(question, "--question")
    if instructions is not None and not robustness:
        raise InputError("--instructions is for --robustness; give that too")
    protocol = Protocol(seeds=seeds, centred=centred, starts="auto" if starts is None else starts)
    lists = load_instructions(instructions) if robustness else {}
    with status_line() as show:
        show("reading tasks")
        tasks = read_tasks(task or [DEMO], question=question, skip_bad=skip_bad)
        if most is not None:
            tasks = [sampled(one, most) for one in tasks]
        show("loading models")
        chosen: dict[str, Any] = {"precision": precision, "backend": backend}
        embedder = Embedder(model, device=device, **chosen)
        contenders = of_embedder(embedder, _called(model))
        for other in beside or []:
            contenders += of_embedder(Embedder(other), _called(other))
        for other in sentence_transformers or []:
            contenders += of_sentence_transformers(other, _called(other))
        _check_names(contenders)
        report = evaluate(
            _called(model),
            str(embedder.runtime),
            contenders,
            tasks,
            protocol=protocol,
            instructions=lists,
            progress=show,
        )
    if json_file is not None:
        text = json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=False)
        json_file.write_text(text + "\n", encoding="utf-8")
    if report_file is not None:
        report_file.write_text(render(report), encoding="utf-8")
    print_eval(report)


def read_tasks(
    given: Sequence[str], *, question: str | None = None, skip_bad: bool = False
) -> list[Task]:
    """Read `--task` options: KIND=FILE, NAME=FILE, or the name of what needs no file.

    Two tasks of one name are told apart by a number.
    """
    found: list[Task] = []
    names = [name for one in given for name in (AWARENESS if one == AWARE else (one,))]
    for text in names:
        name, equals, file = (part.strip() for part in text.partition("="))
        if equals and not file:
            raise InputError(f"--task is {text!r}; write a file after the =")
        if name in KINDS and equals:
            task = read_task(file, name, instruction=question, skip_bad=skip_bad)
        elif name in PUBLISHED_SETS and equals:
            kind = PUBLISHED_SETS[name].kind
            task = read_task(file, kind, name=name, instruction=question, skip_bad=skip_bad)
        elif name in PUBLISHED_SETS:
            task = fetch_task(name, skip_bad=skip_bad)
        elif name == DEMO and not equals:
            task = demo_task()
        else:
            raise InputError(
                f"--task is {text!r}; write KIND=FILE with a kind of {', '.join(KINDS)}, or one of "
                f"{DEMO}, {AWARE}, {', '.join(PUBLISHED_SETS)}"
            )
        alike = sum(one.name.rpartition("-")[0] == task.name for one in found)
        alike += sum(one.name == task.name for one in found)
        found.append(replace(task, name=f"{task.name}-{alike + 1}") if alike else task)
    return found


def _called(model: str) -> str:
    """Return what the table calls a model: the last part of a folder's path, or its name."""
    return Path(model).resolve().name if Path(model).is_dir() else model


def _check_names(contenders: Sequence[Contender]) -> None:
    names = [contender.name for contender in contenders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            f"two models are called {twice[0]!r}; rename a folder, or leave one of them out"
        )
