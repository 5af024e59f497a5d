"""`inbedder train` and `inbedder clean-answers`: a model made of a base and files of answers."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from inbedder_retrieval import options
from inbedder_retrieval.arguments import check_file
from inbedder_retrieval.console import counted, print_json, progress_bar, remark, say
from inbedder_retrieval.errors import InputError, SourceError

__all__ = ["clean_answers", "train"]

SHOWN = 5

Config = Annotated[
    str | None,
    typer.Option("--config", metavar="NAME", help="A config of the package, or a TOML file."),
]
Base = Annotated[
    str | None,
    typer.Option("--base", help="The model begun from: a folder, owner/name, pypi:PACKAGE."),
]
Data = Annotated[
    list[Path], typer.Option("--data", help="A file or folder of examples; may be repeated.")
]
OutFolder = Annotated[Path, typer.Option("--out", help="The folder the model is written into.")]
KindOption = Annotated[
    str | None, typer.Option("--kind", help="prefix (the packaged kind), joint or causal.")
]
Against = Annotated[
    list[Path] | None,
    typer.Option("--against", help="An evaluation file, whose texts are not trained on."),
]
Clean = Annotated[bool, typer.Option("--clean", help="Clean the answers, as clean-answers does.")]
LoraOption = Annotated[
    bool, typer.Option("--lora", help="Train low-rank adapters (causal models; needs peft).")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting of the config, as in TOML."),
]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="How many steps.")]
Epochs = Annotated[float | None, typer.Option("--epochs", help="How many epochs.")]
Rate = Annotated[float | None, typer.Option("--learning-rate", help="The peak.")]
Budget = Annotated[int | None, typer.Option("--token-budget", help="Tokens in a batch.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="What chance is drawn from.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")]
StopAfter = Annotated[
    int | None,
    typer.Option("--stop-after", min=1, help="Stop after this step; --resume goes on."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read, count and plan; write nothing.")]
Examples = Annotated[Path, typer.Argument(help="A file of examples.", show_default=False)]
CleanedFile = Annotated[
    Path, typer.Argument(help="The .jsonl file that is written.", show_default=False)
]


def train(
    data: Data,
    out: OutFolder,
    config: Config = None,
    base: Base = None,
    kind: KindOption = None,
    against: Against = None,
    clean: Clean = False,
    skip_bad: options.SkipBad = False,
    lora: LoraOption = False,
    steps: Steps = None,
    epochs: Epochs = None,
    learning_rate: Rate = None,
    token_budget: Budget = None,
    seed: Seed = None,
    settings: Settings = None,
    resume: Resume = False,
    stop_after: StopAfter = None,
    dry_run: DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Train a model on texts, questions and answers."""
    from inbedder_retrieval.training.config import TrainConfig
    from inbedder_retrieval.training.train import train as train_model

    given: dict[str, Any] = {
        "base": base,
        "kind": kind,
        "clean": clean or None,
        "lora": {} if lora else None,
        "steps": steps,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "token_budget": token_budget,
        "seed": seed,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    changes |= _settings(settings)
    if config is not None:
        chosen = TrainConfig.load(config, **changes)
    elif base is not None:
        chosen = TrainConfig.of(changes, "the options")
    else:
        raise InputError("there is nothing to begin from; give --base, or a --config that names it")
    with progress_bar("training", 0, quiet=as_json) as move:
        report = train_model(
            chosen,
            data,
            out,
            against=against or (),
            skip_bad=skip_bad,
            resume=resume,
            stop_after=stop_after,
            dry_run=dry_run,
            progress=lambda done, steps, loss: move(done, steps),
        )
    if os.environ.get("RANK", "0") != "0":
        # Started by `accelerate launch`: the first of the processes speaks for all.
        return
    if as_json:
        print_json(report.model_dump())
        return
    _remarks("broken row", report.bad)
    _remarks("text in an evaluation set", report.contaminated)
    say(
        f"{counted(report.texts, 'text')}, {counted(report.pairs, 'pair')}; "
        f"{counted(report.held_out, 'text')} held out; {counted(report.planned, 'step')} "
        f"({report.epochs:g} epochs)"
    )
    if dry_run:
        return
    if not report.finished:
        say(f"stopped after step {report.steps} of {report.planned}")
        say("Go on: ", _again())
        return
    say(f"loss     {report.first:.3f} at first, {report.last:.3f} at last")
    for name, value in report.after.items():
        say(f"held out, {name}: {report.before[name]:.3f} before, {value:.3f} after")
    if report.export is not None and report.export.refused is not None:
        remark(f"no model.onnx was written: {report.export.refused}")
    say(f"{out}: {report.name}, in {report.seconds:.0f} s of steps")
    say(f"Use it: Embedder({str(out)!r})")


def clean_answers(
    source: Examples,
    target: CleanedFile,
    skip_bad: options.SkipBad = False,
    as_json: options.Json = False,
) -> None:
    """Clean the answers of a file: lower case, no stop words, eight words at most."""
    from inbedder_retrieval.training.examples import read_examples

    check_file(target, "the cleaned file")
    if target.suffix != ".jsonl":
        raise InputError(f"{target} is to be written as .jsonl; name it so")
    before, after = read_examples(source), read_examples(source, clean=True)
    if before.bad and not skip_bad:
        raise SourceError(
            f"{before.bad[0]}. Mend it, or use --skip-bad to go on without "
            f"({len(before.bad)} of {before.rows} rows cannot be read)"
        )
    with target.open("w", encoding="utf-8") as file:
        for example in after.examples:
            row = {"text": example.text, "qa": [list(pair) for pair in example.pairs]}
            if example.source:
                row["source"] = example.source
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    kept = {(one.text, *pair) for one in before.examples for pair in one.pairs}
    changed = sum((one.text, *pair) not in kept for one in after.examples for pair in one.pairs)
    counts = {
        "texts": len(after.examples),
        "pairs": after.pairs,
        "changed": changed,
        "unanswered": after.unanswered,
        "repeated": after.repeated,
        "bad": len(before.bad),
    }
    if as_json:
        print_json(counts)
        return
    _remarks("broken row", before.bad)
    say(
        f"{target}: {counted(len(after.examples), 'text')}, {counted(after.pairs, 'pair')}; "
        f"{counted(changed, 'answer')} changed, {after.unanswered} left out without a word, "
        f"{after.repeated} the same as another"
    )


def _settings(given: list[str] | None) -> dict[str, Any]:
    """Read `--set key=value` options; a key may name a value in a table, as in `losses.words`."""
    from inbedder_retrieval.training.config import read_toml

    found: dict[str, Any] = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set is {text!r}; write key=value, as in losses.words=0.5")
        try:
            read = read_toml(f"value = {value}")["value"]
        except ValueError:
            # A word is a string without its quotes.
            read = value.strip()
        *tables, last = key.strip().split(".")
        inner = found
        for table in tables:
            inner = inner.setdefault(table, {})
        inner[last] = read
    return found


def _remarks(what: str, places: list[str]) -> None:
    if places:
        remark(f"{counted(len(places), what)} left out:")
    for place in places[:SHOWN]:
        remark(f"  {place}")


def _again() -> str:
    stop = "--stop-after="
    given = [one for one in sys.argv[1:] if one != "--resume" and not one.startswith(stop)]
    if "--stop-after" in given:
        place = given.index("--stop-after")
        given[place : place + 2] = []
    return shlex.join(["inbedder", *given, "--resume"])
