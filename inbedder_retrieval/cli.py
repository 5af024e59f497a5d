"""The command line. Each command is one library call; only this module prints.

Results go to standard output, progress and remarks to standard error. Exit codes: 0 done, 1 a
fault of the machine or the engine, 2 bad input with one line that says what to do, 130 Ctrl-C.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from inbedder_retrieval.arguments import parse_condition, parse_views, parse_weights
from inbedder_retrieval.collection import IndexReport, ViewCollection, Where
from inbedder_retrieval.console import (
    complain,
    err,
    out,
    print_hit,
    print_json,
    print_remarks,
    print_report,
    progress_bar,
)
from inbedder_retrieval.demo import (
    DEMO_QUERY,
    DEMO_VIEWS,
    LABELS,
    demo_documents,
    neighbours_sharing,
)
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.errors import (
    EngineError,
    InbedderError,
    InputError,
    SourceError,
    ViewError,
)
from inbedder_retrieval.sources import Scan, Source, open_source

__all__ = ["app", "main"]

app = typer.Typer(
    name="inbedder",
    help="Search texts by any question.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
views_app = typer.Typer(help="The views of a collection.")
app.add_typer(views_app, name="views")

SourceArgument = Annotated[
    str, typer.Argument(help=".jsonl, .csv, .parquet, .txt, a folder of .txt and .md, or -.")
]
LocationArgument = Annotated[
    str, typer.Argument(help="A collection: a folder, or http://host:6333/name.")
]
ViewOption = Annotated[
    list[str] | None,
    typer.Option("--view", "-v", help='name="question", or general. May be given many times.'),
]
ViewsFileOption = Annotated[
    Path | None, typer.Option("--views", help="A .toml or .json file of views instead.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="A packaged model, a folder, or owner/name.")
]
TextFieldOption = Annotated[str, typer.Option(help="The field that holds the text.")]
IdFieldOption = Annotated[
    str | None, typer.Option(help="The field that holds the id. [default: id, if there is one]")
]
SkipBadOption = Annotated[bool, typer.Option(help="Go on past rows that cannot be read.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        code = app(args=argv, standalone_mode=False)
        return int(code or 0)
    except EngineError as error:
        complain(str(error))
        return 1
    except InbedderError as error:
        complain(str(error))
        return 2
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted; what was stored stays, and the same command goes on from there")
        return 130
    except OSError as error:
        complain(str(error))
        return 1
    except Exception as error:
        # A usage error, of typer itself or of the click below an older one: no common base.
        if not hasattr(error, "format_message"):
            raise
        complain(f"{error.format_message()} (see inbedder --help)")
        return 2


@app.callback(invoke_without_command=True)
@views_app.callback(invoke_without_command=True)
def show_help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        out.print(context.get_help(), markup=False)


@app.command()
def demo(
    to: Annotated[
        Path | None, typer.Option(help="A folder to keep the collection in. [default: none]")
    ] = None,
    query: Annotated[str, typer.Option(help="What to search for.")] = DEMO_QUERY,
) -> None:
    """Search 375 messages by three questions."""
    documents = demo_documents()
    embedder = Embedder()
    with tempfile.TemporaryDirectory() as scratch:
        location = to if to is not None else Path(scratch) / "demo.inb"
        start = time.perf_counter()
        with (
            ViewCollection.open_or_create(str(location), DEMO_VIEWS, embedder) as collection,
            progress_bar("indexing", len(documents)) as progress,
        ):
            collection.add(documents, progress=progress)
            seconds = time.perf_counter() - start
            out.print(
                f"{len(documents)} customer messages under {len(DEMO_VIEWS)} views, "
                f"indexed in {seconds:.1f} s:"
            )
            for view in DEMO_VIEWS:
                out.print(f"  {view.name:<8} {view.instruction or '(no question: the whole text)'}")
            out.print(f'\nThe same query under each view:\n  [bold]"{escape(query)}"[/]')
            for view in DEMO_VIEWS:
                out.print(f"\n[bold cyan]{view.name}[/] {view.instruction or ''}")
                for hit in collection.search(query, view=view.name, limit=3, explain=3):
                    print_hit(hit, labels=LABELS)
        shares = neighbours_sharing(embedder, documents, DEMO_VIEWS)
    out.print("\nOf a message's 10 nearest neighbours, how many share its label (chance: 20 %):")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("view")
    for label in LABELS:
        table.add_column(f"same {label}", justify="right")
    for view in DEMO_VIEWS:
        cells = (_share(shares[view.name][label], view.name == label) for label in LABELS)
        table.add_row(view.name, *cells)
    out.print(table)
    out.print(
        "\nThe same with a file of your own (.jsonl, .csv, .txt, a folder):\n"
        '  inbedder index my.jsonl --to my.inb --view general --view mood="How does the writer '
        'feel?"\n'
        '  inbedder search my.inb "a text like the one you look for" --view mood\n'
        '  inbedder explain "a text" --view mood="How does the writer feel?"'
    )


@app.command()
def index(
    source: SourceArgument,
    to: Annotated[str, typer.Option(help="The collection: a folder, or http://host:6333/name.")],
    view: ViewOption = None,
    views: ViewsFileOption = None,
    text_field: TextFieldOption = "text",
    id_field: IdFieldOption = None,
    skip_bad: SkipBadOption = False,
    on_long: Annotated[
        str, typer.Option(help="Texts longer than the model reads: cut or error.")
    ] = "cut",
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store texts under the questions you name."""
    if on_long not in ("cut", "error"):
        raise InputError(f"--on-long is {on_long!r}; choose cut or error")
    asked = parse_views(view, views)
    rows = open_source(source, text_field=text_field, id_field=id_field)
    scan = _scan(rows, skip_bad)
    start = time.perf_counter()
    with (
        ViewCollection.open_or_create(to, asked, Embedder(model) if model else None) as collection,
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
    out.print(f"{to} holds {count} documents under {', '.join(names)}.")
    if report.written:
        out.print(f'Search it: inbedder search {to} "a text" --view {names[-1]}')


@app.command()
def search(
    location: LocationArgument,
    query: Annotated[str, typer.Argument(help="A text like those you look for.")],
    view: Annotated[
        list[str] | None,
        typer.Option("--view", "-v", help="A view, or name=weight. May be given many times."),
    ] = None,
    top: Annotated[int, typer.Option(help="How many hits.")] = 10,
    where: Annotated[
        list[str] | None,
        typer.Option(help="field=value (also != < <= > >=) over metadata; all must hold."),
    ] = None,
    words: Annotated[int, typer.Option(help="How many answer words to show.", min=0)] = 3,
    as_json: JsonOption = False,
) -> None:
    """Find the texts with the nearest answers."""
    weights = parse_weights(view)
    conditions = [parse_condition(text) for text in where or []]
    combined = None if not conditions else Where("all", parts=tuple(conditions))
    with ViewCollection.open(location) as collection:
        hits = collection.search(query, views=weights, limit=top, filter=combined, explain=words)
    if as_json:
        print_json([hit.model_dump() for hit in hits])
        return
    for hit in hits:
        print_hit(hit)
    if not hits:
        err.print("nothing found" + (" that fits --where" if where else ""))


@app.command()
def embed(
    source: SourceArgument,
    out_file: Annotated[Path, typer.Option("--out", help="The .npz file to write.")],
    view: ViewOption = None,
    views: ViewsFileOption = None,
    text_field: TextFieldOption = "text",
    id_field: IdFieldOption = None,
    skip_bad: SkipBadOption = False,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write vectors to an .npz file, one array a view."""
    asked = parse_views(view, views)
    if asked is None:
        raise ViewError('no view was given; give --view name="question" or --view general')
    if "ids" in asked.names:
        raise ViewError("a view is named 'ids', which the file needs for the ids; rename it")
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
    with out_file.open("wb") as file:
        arrays: dict[str, Any] = {"ids": np.array(ids, dtype=np.str_), **embeddings}
        np.savez(file, **arrays)
    summary = {
        "texts": len(ids),
        "views": asked.names,
        "dimension": embedder.dimension,
        "truncated": len(embeddings.truncated),
        "duplicates": scan.duplicates,
        "bad": scan.bad,
        "seconds": seconds,
    }
    if as_json:
        print_json(summary)
        return
    report = IndexReport(
        duplicates=scan.duplicates,
        truncated=len(embeddings.truncated),
        empty=len(embeddings.empty),
    )
    print_remarks(report, scan)
    out.print(
        f"{out_file}: {len(ids)} texts x {len(asked)} views x {embedder.dimension} numbers "
        f"in {seconds:.1f} s"
    )


@app.command()
def explain(
    text: Annotated[str, typer.Argument(help="The text to ask about.")],
    view: ViewOption = None,
    views: ViewsFileOption = None,
    top: Annotated[int, typer.Option(help="How many words.", min=1)] = 5,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the answer words of a text."""
    asked = parse_views(view, views)
    if asked is None:
        raise ViewError('no view was given; give --view name="question"')
    if "general" in asked.names:
        raise ViewError("the general view answers no question, so it has no answer words")
    embedder = Embedder(model) if model else Embedder()
    embeddings = embedder.embed([text], asked)
    answers = {name: embedder.explain(embeddings[name], top=top)[0] for name in asked.names}
    if as_json:
        print_json({name: [word.model_dump() for word in words] for name, words in answers.items()})
        return
    for one in asked:
        out.print(f"[bold cyan]{escape(one.name)}[/] {escape(one.instruction or '')}")
        for word in answers[one.name]:
            out.print(f"  {word.weight:6.1%}  {escape(word.word)}")


@app.command()
def info(location: LocationArgument, as_json: JsonOption = False) -> None:
    """Describe a collection."""
    with ViewCollection.open(location) as collection:
        found = collection.info()
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    out.print(f"location   {escape(found.location)}")
    out.print(f"engine     {found.engine}")
    out.print(f"documents  {found.documents}")
    out.print(f"views      {', '.join(record.name for record in found.views)}")
    models = sorted({f"{r.model} ({r.fingerprint}, {r.dimension} wide)" for r in found.views})
    out.print(f"model      {escape(', '.join(models))}")
    out.print(f"indexes    {escape(', '.join(found.indexed_fields)) or 'none yet'}")


@views_app.command("list")
def list_views(location: LocationArgument, as_json: JsonOption = False) -> None:
    """List views and their questions."""
    with ViewCollection.open(location) as collection:
        records = collection.info().views
    if as_json:
        print_json([record.model_dump(mode="json") for record in records])
        return
    width = max(len(record.name) for record in records)
    for record in records:
        question = record.instruction or "(no question: the whole text)"
        state = "" if record.state == "ready" else f"  [{record.state}]"
        out.print(escape(f"{record.name:<{width}}  {question}{state}"))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A checkpoint: safetensors and inbedder.json.")],
    as_json: JsonOption = False,
) -> None:
    """Make model.onnx (int8) from a checkpoint."""
    from inbedder_retrieval.export import MAX_DIFFERENCE, MIN_MEAN_COSINE, export_onnx

    texts = [document.text for document in demo_documents()]
    report = export_onnx(folder, texts, DEMO_VIEWS)
    if as_json:
        print_json(
            {
                "path": str(report.path),
                "difference": report.difference,
                "mean_cosine": report.mean_cosine,
                "min_cosine": report.min_cosine,
                "answer_norm": report.answer_norm,
                "bytes": report.bytes,
            }
        )
        return
    out.print(f"float32 against torch   {report.difference:.2g} at most (gate {MAX_DIFFERENCE:g})")
    out.print(
        f"int8 against float32    cosine {report.mean_cosine:.4f} on average "
        f"(gate {MIN_MEAN_COSINE}), {report.min_cosine:.4f} at least"
    )
    out.print(f"{report.path}: {report.bytes / 1e6:.1f} MB")


def _scan(rows: Source, skip_bad: bool) -> Scan:
    try:
        scan = rows.scan(skip_bad=skip_bad)
    except SourceError as error:
        raise SourceError(f"{error}. Mend it, or use --skip-bad to go on without it") from None
    if not scan.total:
        raise SourceError(f"{rows.name} holds no text; nothing was done")
    return scan


def _share(value: float, strong: bool) -> str:
    return f"[bold]{value:.0%}[/]" if strong else f"{value:.0%}"
