"""The command line. Each command is one library call; only this module prints.

Results go to standard output, progress and remarks to standard error. Exit codes: 0 done, 1 a
fault of the machine or the engine, 2 bad input with one line that says what to do, 130 Ctrl-C.
"""

from __future__ import annotations

import io
import shlex
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

from inbedder_retrieval import options
from inbedder_retrieval.arguments import (
    check_file,
    check_text,
    parse_condition,
    parse_views,
    parse_weights,
    require_views,
)
from inbedder_retrieval.bench.command import bench
from inbedder_retrieval.bench.machine import this_machine
from inbedder_retrieval.cli_views import show_help, views_app
from inbedder_retrieval.collection import IndexReport, ViewCollection, Where
from inbedder_retrieval.console import (
    complain,
    counted,
    print_answers,
    print_demo,
    print_hit,
    print_info,
    print_json,
    print_machine,
    print_remarks,
    print_report,
    progress_bar,
    remark,
    say,
)
from inbedder_retrieval.demo import DEMO_QUERY, DEMO_VIEWS, demo_documents, run_demo
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.errors import (
    CollectionNotFound,
    EngineError,
    InbedderError,
    InputError,
    SourceError,
    ViewError,
)
from inbedder_retrieval.sources import Scan, Source, open_source
from inbedder_retrieval.views import Views

__all__ = ["app", "main"]

INTERRUPTED = 130

app = typer.Typer(
    name="inbedder",
    help="Search texts by any question.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(views_app, name="views")
app.command()(bench)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # That a terminal or a file lacks a character is no reason to fail.
            stream.reconfigure(errors="replace")
    try:
        code = app(args=arguments, prog_name="inbedder", standalone_mode=False)
        if code == INTERRUPTED:
            # What typer makes of Ctrl-C, without a word.
            raise KeyboardInterrupt
        return int(code or 0)
    except (EngineError, OSError) as error:
        complain(str(error))
        return 1
    except InbedderError as error:
        complain(str(error))
        return 2
    except (KeyboardInterrupt, typer.Abort):
        stays = "; what was stored stays, and the same command goes on from there"
        writes = arguments[:1] == ["index"] or arguments[:2] == ["views", "add"]
        complain("interrupted" + (stays if writes else ""))
        return INTERRUPTED
    except Exception as error:
        # A usage error, of typer itself or of the click below an older one: no common base.
        if not hasattr(error, "format_message"):
            raise
        context = getattr(error, "ctx", None)
        command = "inbedder" if context is None else context.command_path
        complain(f"{error.format_message()} (see {command} --help)")
        return 2


@app.callback(invoke_without_command=True)
def start(context: typer.Context, show_version: options.Version = False) -> None:
    if show_version:
        say(f"inbedder {version('inbedder-retrieval')}")
        raise typer.Exit
    show_help(context)


@app.command()
def demo(
    to: options.Keep = None, query: options.DemoQuery = DEMO_QUERY, as_json: options.Json = False
) -> None:
    """Search 375 messages by three questions."""
    check_text(query, "--query")
    documents = demo_documents()
    with (
        tempfile.TemporaryDirectory() as scratch,
        progress_bar("indexing", len(documents), quiet=as_json) as progress,
    ):
        report = run_demo(to or Path(scratch) / "demo.inb", documents, query, progress=progress)
    if as_json:
        print_json(report.model_dump())
    else:
        print_demo(report)


@app.command()
def index(
    source: options.Source,
    to: options.To,
    view: options.View = None,
    views: options.ViewsFile = None,
    text_field: options.TextField = "text",
    id_field: options.IdField = None,
    skip_bad: options.SkipBad = False,
    on_long: options.OnLong = "cut",
    model: options.Model = None,
    as_json: options.Json = False,
) -> None:
    """Store texts under the questions you name."""
    if on_long not in ("cut", "error"):
        raise InputError(f"--on-long is {on_long!r}; choose cut or error")
    if to == ":memory:":
        raise InputError("a collection in :memory: is gone when the command ends; give a folder")
    asked = parse_views(view, views)
    rows = open_source(source, text_field=text_field, id_field=id_field)
    scan = _scan(rows, skip_bad)
    start = time.perf_counter()
    with (
        _collection(to, asked, model) as collection,
        progress_bar("indexing", scan.total, quiet=as_json) as progress,
    ):
        report = collection.add(
            rows.documents(scan),
            on_long="error" if on_long == "error" else "cut",
            progress=progress,
        )
        seconds = time.perf_counter() - start
        count, names = collection.count(), collection.views.names
    report = report.model_copy(update={"duplicates": report.duplicates + scan.duplicates})
    if as_json:
        print_json(
            report.model_dump()
            | {"bad": scan.bad, "documents": count, "views": names, "seconds": seconds}
        )
        return
    print_report(report, scan, seconds)
    say(f"{to} holds {counted(count, 'document')} under {', '.join(names)}.")
    if report.written:
        command = shlex.join(["inbedder", "search", to, "a text", "--view", names[-1]])
        say(f"Search it: {command}")


@app.command()
def search(
    location: options.Location,
    query: options.Query,
    view: options.SearchView = None,
    top: options.TopHits = 10,
    where: options.Where = None,
    words: options.Words = 3,
    as_json: options.Json = False,
) -> None:
    """Find the texts with the nearest answers."""
    check_text(query, "the query")
    weights = parse_weights(view)
    conditions = [parse_condition(text) for text in where or []]
    combined = Where("all", parts=tuple(conditions)) if conditions else None
    with ViewCollection.open(location) as collection:
        hits = collection.search(query, views=weights, limit=top, filter=combined, explain=words)
    if as_json:
        print_json([hit.model_dump() for hit in hits])
        return
    for hit in hits:
        print_hit(hit)
    if not hits:
        remark("nothing found" + (" that fits --where" if where else ""))


@app.command()
def embed(
    source: options.Source,
    out_file: options.Out,
    view: options.View = None,
    views: options.ViewsFile = None,
    text_field: options.TextField = "text",
    id_field: options.IdField = None,
    skip_bad: options.SkipBad = False,
    model: options.Model = None,
    as_json: options.Json = False,
) -> None:
    """Write vectors to an .npz file, one array a view."""
    asked = require_views(view, views)
    if "ids" in asked.names:
        raise ViewError("a view is named 'ids', which the file needs for the ids; rename it")
    check_file(out_file)
    rows = open_source(source, text_field=text_field, id_field=id_field)
    scan = _scan(rows, skip_bad)
    embedder = Embedder(model) if model else Embedder()
    ids: list[str] = []

    def texts() -> Iterator[str]:
        for document in rows.documents(scan):
            ids.append(document.id)
            yield document.text

    start = time.perf_counter()
    with progress_bar("embedding", scan.total, quiet=as_json) as progress:
        embeddings = embedder.embed(texts(), asked, progress=progress)
    seconds = time.perf_counter() - start
    _write_arrays(out_file, {"ids": np.array(ids, dtype=np.str_), **embeddings})
    if as_json:
        print_json(
            {
                "texts": len(ids),
                "views": asked.names,
                "dimension": embedder.dimension,
                "truncated": len(embeddings.truncated),
                "duplicates": scan.duplicates,
                "bad": scan.bad,
                "seconds": seconds,
            }
        )
        return
    report = IndexReport(
        duplicates=scan.duplicates,
        truncated=len(embeddings.truncated),
        empty=len(embeddings.empty),
    )
    print_remarks(report, scan)
    say(
        f"{out_file}: {counted(len(ids), 'text')} x {counted(len(asked), 'view')} x "
        f"{embedder.dimension} numbers in {seconds:.1f} s"
    )


@app.command()
def explain(
    text: options.Text,
    view: options.View = None,
    views: options.ViewsFile = None,
    top: options.TopWords = 5,
    model: options.Model = None,
    as_json: options.Json = False,
) -> None:
    """Show the answer words of a text."""
    check_text(text, "the text")
    asked = require_views(view, views)
    if "general" in asked.names:
        raise ViewError("the general view answers no question, so it has no answer words")
    embedder = Embedder(model) if model else Embedder()
    embeddings = embedder.embed([text], asked)
    answers = {name: embedder.explain(embeddings[name], top=top)[0] for name in asked.names}
    if as_json:
        print_json({name: [word.model_dump() for word in words] for name, words in answers.items()})
    else:
        print_answers(asked, answers)


@app.command()
def info(
    location: options.MaybeLocation = None,
    model: options.Model = None,
    as_json: options.Json = False,
) -> None:
    """Describe a collection, or what runs here."""
    if location is None:
        embedder = Embedder(model) if model else Embedder()
        machine = this_machine(embedder.runtime.device)
        if as_json:
            print_json(machine.model_dump() | {"model": embedder.name} | asdict(embedder.runtime))
        else:
            print_machine(machine, embedder.name, str(embedder.runtime))
        return
    if model is not None:
        raise InputError("--model is for 'inbedder info' alone; a collection knows its model")
    with ViewCollection.open(location) as collection:
        found = collection.info()
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_info(found)


@app.command()
def export(folder: options.Checkpoint, as_json: options.Json = False) -> None:
    """Make model.onnx (int8) from a checkpoint."""
    from inbedder_retrieval.export import MAX_DIFFERENCE, MIN_MEAN_COSINE, export_onnx

    texts = [document.text for document in demo_documents()]
    report = export_onnx(folder, texts, DEMO_VIEWS)
    if as_json:
        print_json(asdict(report) | {"path": str(report.path)})
        return
    say(f"float32 against torch   {report.difference:.2g} at most (gate {MAX_DIFFERENCE:g})")
    say(
        f"int8 against float32    cosine {report.mean_cosine:.4f} on average "
        f"(gate {MIN_MEAN_COSINE}), {report.min_cosine:.4f} at least"
    )
    say(f"{report.path}: {report.bytes / 1e6:.1f} MB")


def _scan(rows: Source, skip_bad: bool) -> Scan:
    scan = rows.scan(skip_bad=True)
    if scan.bad and not scan.total:
        raise SourceError(f"no row can be read: {scan.bad[0]}")
    if scan.bad and not skip_bad:
        all_bad = f"{counted(len(scan.bad), 'row')} cannot be read"
        raise SourceError(f"{scan.bad[0]}. Mend it, or use --skip-bad to go on without ({all_bad})")
    if not scan.total:
        raise SourceError(f"{rows.name} holds no text; nothing was done")
    return scan


def _collection(to: str, asked: Views | None, model: str | None) -> ViewCollection:
    embedder = Embedder(model) if model else None
    if asked is not None:
        return ViewCollection.open_or_create(to, asked, embedder)
    try:
        return ViewCollection.open(to, embedder)
    except CollectionNotFound:
        raise CollectionNotFound(
            f"there is no collection at {to}; to create it, name its views, such as "
            '--view feeling="How does the customer feel?"'
        ) from None


def _write_arrays(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write what `numpy.savez` does, which takes no array named `file`."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array)
