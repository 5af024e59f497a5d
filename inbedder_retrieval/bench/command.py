"""`inbedder bench`: what was typed becomes a measurement, and its report is shown and written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from inbedder_retrieval import options
from inbedder_retrieval.arguments import check_file, parse_span
from inbedder_retrieval.bench.curve import COUNTS, TEXTS, measure_curve
from inbedder_retrieval.bench.measure import latency, measure
from inbedder_retrieval.bench.peers import PEERS
from inbedder_retrieval.bench.probe import Engine
from inbedder_retrieval.bench.show import print_bench, print_curve, print_storage
from inbedder_retrieval.bench.storage import measure_storage
from inbedder_retrieval.bench.stores import STORES
from inbedder_retrieval.bench.workload import drawn_texts, questions
from inbedder_retrieval.checkpoint import DEFAULT_MODEL
from inbedder_retrieval.console import say, status_line
from inbedder_retrieval.errors import InputError, SourceError

__all__ = ["bench"]

WORDS = "1-90"
# An accelerator is through with the few that keep a processor busy before it is warm.
DRAWN = {"cpu": 400, "cuda": 16_384}
VIEWS = (1, 8)
DOCUMENTS = 100_000


def bench(
    model: options.Model = None,
    views: options.BenchViews = None,
    words: options.BenchWords = None,
    texts: options.BenchTexts = None,
    file: options.BenchFile = None,
    device: options.Device = "cpu",
    precision: options.Precision = None,
    backend: options.Backend = None,
    compiled: options.Compiled = False,
    repeats: options.Repeats = 5,
    no_peers: options.NoPeers = False,
    no_memory: options.NoMemory = False,
    json_file: options.JsonFile = None,
    curve: options.CurveFile = None,
    storage: options.Storage = False,
    documents: options.Documents = None,
) -> None:
    """Measure speed and memory on this machine, beside other libraries."""
    for option, target in (("--json", json_file), ("--curve", curve)):
        if target is not None:
            check_file(target, option)
    if storage:
        needless = {
            "--model": model,
            "--views": views,
            "--words": words,
            "--texts": texts,
            "--file": file,
            "--curve": curve,
            "--device": None if device == "cpu" else device,
            "--precision": precision,
            "--backend": backend,
            "--compiled": compiled or None,
            "--no-memory": no_memory or None,
        }
        _storage(documents, needless, repeats, no_peers, json_file)
        return
    if documents is not None:
        raise InputError("--documents is for --storage; leave it out, or give --storage too")
    if "," in device:
        # Whoever it is measured beside has one.
        raise InputError(f"--device is {device!r}; measure one device, such as cuda:0")
    engine = Engine(backend=backend, precision=precision, device=device, compiled=compiled)
    name = model or DEFAULT_MODEL
    if curve is not None:
        if file is not None or words is not None:
            raise InputError("--curve makes its own texts; leave --file and --words out")
        if json_file is not None:
            raise InputError("--curve names the file that is written; leave --json out")
        most = COUNTS[-1] if texts is None else texts
        with status_line() as show:
            measured = measure_curve(
                name,
                engine=engine,
                most_questions=max(views or [64]),
                most_texts=most,
                texts=min(most, TEXTS),
                turns=min(repeats, 3),
                progress=show,
            )
        _write(curve, measured)
        print_curve(measured)
        say(f"written to {curve}; docs/cost.py draws it")
        return
    chosen, described = _texts(file, words, texts, device)
    for count in views or VIEWS:
        questions(count)
    with status_line() as show:
        report = measure(
            chosen,
            name,
            words=described,
            views=views or VIEWS,
            engine=engine,
            repeats=repeats,
            peers=() if no_peers else PEERS,
            memory=not no_memory,
            progress=show,
        )
        if json_file is not None:
            # Minutes of measuring are kept, whatever becomes of the processes that follow.
            _write(json_file, report)
        first = latency(name, engine=engine, processes=2 * repeats, progress=show)
    report = report.model_copy(update={"latency": first})
    if json_file is not None:
        _write(json_file, report)
    print_bench(report)


def _storage(
    documents: int | None,
    needless: Mapping[str, object],
    repeats: int,
    no_peers: bool,
    json_file: Path | None,
) -> None:
    """Measure storage with given vectors, and adding a view with the packaged model."""
    for option, value in needless.items():
        if value is not None:
            raise InputError(
                f"{option} is not for --storage, whose vectors are given; leave it out"
            )
    with status_line() as show:
        report = measure_storage(
            DOCUMENTS if documents is None else documents,
            turns=min(repeats, 3),
            stores=() if no_peers else STORES,
            progress=show,
        )
    if json_file is not None:
        _write(json_file, report)
    print_storage(report)


def _texts(
    file: Path | None, words: str | None, count: int | None, device: str
) -> tuple[list[str], str]:
    """Return the texts to measure on, and of what lengths they are, in words."""
    if file is None:
        shortest, longest = parse_span(words or WORDS, "--words")
        drawn = (DRAWN["cpu"] if device == "cpu" else DRAWN["cuda"]) if count is None else count
        span = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
        return list(drawn_texts(drawn, shortest, longest)), f"{span} words"
    if words is not None:
        raise InputError("--words is for texts that are made; leave it out with --file")
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"--file {file} cannot be read: {error}") from error
    lines = [line for line in lines if line][:count]
    if not lines:
        raise SourceError(f"--file {file} holds no text; write one on each line")
    lengths = [len(line.split()) for line in lines]
    return lines, f"{min(lengths)} to {max(lengths)} words, of {file.name}"


def _write(file: Path, report: BaseModel) -> None:
    text = json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")
