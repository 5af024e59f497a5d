"""The command line. Each command is one library call, and only commands print.

Here are those that make something of texts; search, views, and what is done with a collection as a
whole are in `cli_search.py`, `cli_views.py` and `cli_collection.py`.

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
    parse_views,
    require_views,
)
from inbedder_retrieval.bench.command import bench
from inbedder_retrieval.cli_cluster import cluster_app
from inbedder_retrieval.cli_collection import delete, info, optimize
from inbedder_retrieval.cli_copy import copy
from inbedder_retrieval.cli_eval import evaluate_model
from inbedder_retrieval.cli_repair import repair
from inbedder_retrieval.cli_search import search
from inbedder_retrieval.cli_train import clean_answers, train
from inbedder_retrieval.cli_views import show_help, views_app
from inbedder_retrieval.collection import IndexReport, Storage, ViewCollection, Where
from inbedder_retrieval.collection.storage import Quantization
from inbedder_retrieval.console import (
    complain,
    counted,
    print_answers,
    print_demo,
    print_json,
    print_remarks,
    print_report,
    progress_bar,
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
# What goes on where it was interrupted.
RESUMED = (["index"], ["copy"], ["views", "add"], ["views", "rebuild"])
QUANTIZATIONS: dict[str, Quantization] = {"scalar": "scalar", "binary": "binary", "turbo": "turbo"}

app = typer.Typer(
    name="inbedder",
    help="Search texts by any question.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
        goes_on = any(arguments[: len(command)] == command for command in RESUMED)
        complain("interrupted" + (stays if goes_on else ""))
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
    quantization: options.Quantization = None,
    tenant: options.Tenant = None,
    as_json: options.Json = False,
) -> None:
    """Store texts under the questions you name."""
    if on_long not in ("cut", "error"):
        raise InputError(f"--on-long is {on_long!r}; choose cut or error")
    if to == ":memory:":
        raise InputError("a collection in :memory: is gone when the command ends; give a folder")
    asked, storage = parse_views(view, views), _storage(quantization, tenant)
    rows = open_source(source, text_field=text_field, id_field=id_field)
    scan = _scan(rows, skip_bad)
    start = time.perf_counter()
    with (
        _collection(to, asked, model, storage) as collection,
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


def export(
    folder: options.Checkpoint,
    precision: options.ExportPrecision = "int8",
    as_json: options.Json = False,
) -> None:
    """Make model.onnx (int8) from a checkpoint, or a file of another precision beside it."""
    from inbedder_retrieval.export import MAX_DIFFERENCE, MIN_MEAN_COSINE, export_onnx

    texts = [document.text for document in demo_documents()]
    report = export_onnx(folder, texts, DEMO_VIEWS, precision)
    if as_json:
        print_json(asdict(report) | {"path": str(report.path)})
        return
    say(f"float32 against torch   {report.difference:.2g} at most (gate {MAX_DIFFERENCE:g})")
    say(
        f"{precision + ' against float32':<23} cosine {report.mean_cosine:.4f} on average "
        f"(gate {MIN_MEAN_COSINE[precision]}), {report.min_cosine:.4f} at least"
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


def _storage(quantization: str | None, tenant: str | None) -> Storage:
    if quantization is not None and quantization not in QUANTIZATIONS:
        raise InputError(f"--quantization is {quantization!r}; choose scalar, binary or turbo")
    if tenant is not None:
        check_text(tenant, "--tenant")
        _ = Where.field(tenant)  # Refuses what is no field, before anything is created.
    given = {"quantization": quantization, "tenant": tenant}
    return Storage.model_validate({name: one for name, one in given.items() if one is not None})


def _collection(
    to: str, asked: Views | None, model: str | None, storage: Storage
) -> ViewCollection:
    embedder = Embedder(model) if model else None
    try:
        collection = ViewCollection.open_or_create(to, asked, embedder, storage=storage)
    except CollectionNotFound:
        if asked is not None:
            raise
        raise CollectionNotFound(
            f"there is no collection at {to}; to create it, name its views, such as "
            '--view feeling="How does the customer feel?"'
        ) from None
    try:
        _check_storage(collection, storage, to)
    except BaseException:
        collection.close()
        raise
    return collection


def _check_storage(collection: ViewCollection, asked: Storage, to: str) -> None:
    """Refuse options that differ from the storage of a collection that was there already."""
    if not asked.model_fields_set:
        return
    kept = collection.info().storage
    for name in sorted(asked.model_fields_set):
        wanted, found = getattr(asked, name), getattr(kept, name)
        if wanted != found:
            raise InputError(
                f"{to} was created with {'no ' + name if found is None else f'{name} {found}'}, "
                f"which cannot be changed; leave --{name} {wanted} out, or index into a new place"
            )


def _write_arrays(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write what `numpy.savez` does, which takes no array named `file`."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array)


for command in (
    *(demo, index, search, delete, copy, optimize, repair, info),
    *(embed, explain, export, bench, train, clean_answers),
):
    app.command()(command)
app.command("eval")(evaluate_model)
app.add_typer(cluster_app, name="cluster")
app.add_typer(views_app, name="views")
