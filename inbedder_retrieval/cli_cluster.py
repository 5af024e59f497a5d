"""`inbedder cluster`: texts are grouped by their answers, named, drawn, and others are put to them.

`inbedder cluster SOURCE ...` is short for `inbedder cluster make SOURCE ...`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from inbedder_retrieval import options
from inbedder_retrieval.arguments import check_file, parse_conditions
from inbedder_retrieval.cli_views import show_help
from inbedder_retrieval.cluster import cluster, write_labels
from inbedder_retrieval.clusters import Assignment, Clusters, Method
from inbedder_retrieval.collection import ViewCollection
from inbedder_retrieval.console import counted, print_json, remark, say, status_line
from inbedder_retrieval.corpus import Corpus, Step, embed_corpus, read_corpus
from inbedder_retrieval.crosstab import CrossTable, cross
from inbedder_retrieval.documents import Document
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.errors import CollectionNotFound, InputError, SourceError, ViewError
from inbedder_retrieval.mapping import layout
from inbedder_retrieval.plot import check_plot, write_plot
from inbedder_retrieval.report import MAX_DRAWN, write_report
from inbedder_retrieval.sources import open_source
from inbedder_retrieval.views import View, Views

__all__ = ["cluster_app"]

METHODS: dict[str, Method] = {"kmeans": "kmeans", "hdbscan": "hdbscan"}
# How far a cell of a cross table is from chance, in standard deviations, to be told.
REMARKABLE = 3.0
TOLD_CELLS = 5
# How many other numbers of clusters are told.
TOLD_NUMBERS = 3


class MakeUnlessNamed(TyperGroup):
    """Takes what is no command of its own for the first argument of `make`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `make` before arguments that name no command."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["make", *args]
        found: list[str] = super().parse_args(ctx, args)
        return found


cluster_app = typer.Typer(
    cls=MakeUnlessNamed,
    help="Group texts by their answers: inbedder cluster SOURCE --view NAME (see inbedder cluster "
    "make --help), or put others into the groups.",
)

Clustered = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="A collection, a file or folder of texts, or -."),
]
ClusteredView = Annotated[
    list[str] | None,
    typer.Option(
        "--view",
        "-v",
        metavar='NAME[="QUESTION"]',
        help="A view to cluster; of texts in a file, with its question. May be given many times: "
        "the views are then held against each other.",
    ),
]
Number = Annotated[str, typer.Option("--k", metavar="auto|N", help="How many clusters.")]
MethodOption = Annotated[
    str,
    typer.Option(
        metavar="kmeans|hdbscan",
        help="hdbscan finds the number itself, and calls what lies between clusters noise.",
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Of everything random.")]
ReportFile = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write a page to look through (.html)."),
]
PlotFile = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Draw the maps (.png, .svg, .pdf).")
]
SaveFile = Annotated[
    Path | None,
    typer.Option(
        "--save", metavar="FILE", help="Keep the clusters (.json) for 'apply'; one view only."
    ),
]
Label = Annotated[
    bool,
    typer.Option(
        "--label",
        help="Write each document's cluster into the collection, as NAME_cluster and "
        "NAME_cluster_name, to filter searches by.",
    ),
]
ClustersFile = Annotated[
    Path, typer.Argument(metavar="CLUSTERS", help="What 'inbedder cluster --save' wrote.")
]
AppliedTexts = Annotated[
    str, typer.Argument(metavar="TEXTS", help="A file or folder of texts, or -.")
]

cluster_app.callback(invoke_without_command=True)(show_help)


@cluster_app.command("make")
def make(
    source: Clustered,
    view: ClusteredView = None,
    k: Number = "auto",
    method: MethodOption = "kmeans",
    seed: Seed = 0,
    where: options.Where = None,
    out_file: ReportFile = None,
    plot: PlotFile = None,
    save: SaveFile = None,
    label: Label = False,
    text_field: options.TextField = "text",
    id_field: options.IdField = None,
    skip_bad: options.SkipBad = False,
    model: options.Model = None,
    as_json: options.Json = False,
) -> None:
    """Group texts by their answers, name the groups, draw them."""
    if not view:
        raise ViewError("no view was given; give --view with the name of the view to cluster")
    if method not in METHODS:
        raise InputError(f"--method is {method!r}; choose kmeans or hdbscan")
    if save and len(view) > 1:
        raise InputError("--save keeps the clusters of one view; give one --view")
    number = _number(k)
    for file, option in ((out_file, "--out"), (plot, "--plot"), (save, "--save")):
        if file is not None:
            check_file(file, option)
    if plot is not None:
        check_plot(plot)
    start = time.perf_counter()
    with _showing(quiet=as_json) as show:
        corpus, collection = _corpus(
            source, view, where, text_field, id_field, skip_bad, model, label, show
        )
        try:
            names = corpus.views.names
            found = [
                cluster(corpus, name, k=number, method=METHODS[method], seed=seed, progress=show)
                for name in names
            ]
            maps: dict[str, Any] = {}
            for name in names if out_file or plot else []:
                show(f"drawing {name}", 0, 0)
                maps[name] = layout(corpus.of(name), seed=seed, like=maps.get(names[0]))
            if out_file is not None:
                write_report(out_file, corpus, found, maps, title=_title(source), seed=seed)
            if plot is not None:
                write_plot(plot, corpus, found, maps)
            if save is not None:
                found[0].save(save)
            labelled = 0
            if label and collection is not None:
                for one in found:
                    labelled = write_labels(collection, one)
        finally:
            if collection is not None:
                collection.close()
    seconds = time.perf_counter() - start
    tables = [cross(one, other) for at, one in enumerate(found) for other in found[at + 1 :]]
    if as_json:
        print_json(
            {
                "documents": len(corpus.documents),
                "views": [
                    one.model_dump(mode="json", exclude={"mean", "centres", "hashes"})
                    for one in found
                ],
                "crosses": [table.model_dump(mode="json") for table in tables],
                "labelled": labelled,
                "seconds": seconds,
            }
        )
        return
    texts = {document.id: document.text for document in corpus.documents}
    for one in found:
        _print_clusters(one, texts)
    for table in tables:
        _print_cross(table)
    say(f"{counted(len(texts), 'document')} in {seconds:.1f} s")
    if labelled:
        say(f"{counted(labelled, 'document')} labelled")
    if out_file is not None and len(texts) > MAX_DRAWN:
        remark(f"{out_file} draws a sample of {MAX_DRAWN:,} documents")
    for file in (out_file, plot, save):
        if file is not None:
            say(f"wrote {file}")


@cluster_app.command("apply")
def apply(
    clusters: ClustersFile,
    texts: AppliedTexts,
    text_field: options.TextField = "text",
    id_field: options.IdField = None,
    skip_bad: options.SkipBad = False,
    as_json: options.Json = False,
) -> None:
    """Put other texts into clusters that were found."""
    kept = Clusters.load(clusters)
    documents = _documents(texts, text_field, id_field, skip_bad)
    assigned = kept.assign([document.text for document in documents])
    if as_json:
        rows = zip(documents, assigned, strict=True)
        print_json([{"id": document.id} | one.model_dump() for document, one in rows])
        return
    for document, one in zip(documents, assigned, strict=True):
        say((f"{one.name}", "bold cyan"), f"  {_shown(document.text)}")
        say((f"        {_certainty(one)} id={document.id}", "dim"))


def _number(k: str) -> Any:
    if k == "auto":
        return k
    try:
        return int(k)
    except ValueError:
        raise InputError(f"--k is {k!r}; give a whole number, or auto") from None


def _corpus(
    source: str,
    view: list[str],
    where: list[str] | None,
    text_field: str,
    id_field: str | None,
    skip_bad: bool,
    model: str | None,
    label: bool,
    show: Step,
) -> tuple[Corpus, ViewCollection | None]:
    """Read a collection, or embed texts; whether it is one is seen by what is there."""
    conditions = parse_conditions(where)
    collection = _opened(source)
    if collection is not None:
        try:
            if model is not None:
                raise InputError("--model is for texts in a file; a collection knows its model")
            for one in view:
                if "=" in one:
                    raise ViewError(
                        f"--view is {one!r}, and {source} is a collection; name one of its views "
                        f"({', '.join(collection.views.names)})"
                    )
            return read_corpus(collection, view, filter=conditions, progress=show), collection
        except BaseException:
            collection.close()
            raise
    # Texts need the model and minutes; what they cannot have is refused before.
    if label:
        raise InputError(f"--label writes into a collection, and {source} is none; index it first")
    if conditions is not None:
        raise InputError("--where is for collections; index the file first")
    views = Views(View.parse(one) for one in view)
    documents = _documents(source, text_field, id_field, skip_bad)
    embedder = Embedder(model) if model else Embedder()
    return embed_corpus(documents, views, embedder, progress=show), None


def _opened(source: str) -> ViewCollection | None:
    if source == "-" or Path(source).is_file():
        return None
    try:
        return ViewCollection.open(source)
    except CollectionNotFound:
        if Path(source).is_dir():
            return None
        raise


def _documents(
    source: str, text_field: str, id_field: str | None, skip_bad: bool
) -> list[Document]:
    rows = open_source(source, text_field=text_field, id_field=id_field)
    scan = rows.scan(skip_bad=skip_bad)
    if not scan.total:
        raise SourceError(f"{rows.name} holds no text; nothing was done")
    return list(rows.documents(scan))


@contextmanager
def _showing(*, quiet: bool) -> Any:
    """Yield what shows how far a step is, where somebody looks on."""
    if quiet or not sys.stderr.isatty():
        yield lambda action, done, total: None
        return
    with status_line() as show:
        yield _steps(show)


def _steps(show: Callable[[str], None]) -> Step:
    def step(action: str, done: int, total: int) -> None:
        show(f"{action}, {done:,} of {total:,}" if total > 1 else action)

    return step


def _print_clusters(found: Clusters, texts: dict[str, str]) -> None:
    count = counted(len(found.clusters), "cluster")
    say((found.view, "bold cyan"), f" {found.instruction or '(no question: the whole text)'}")
    if len(found.clusters) == 1:
        say(f"{count}: nothing sets the documents apart")
    else:
        say(f"{count}, silhouette {found.silhouette:.2f}")
    if len(found.clusters) > 1 and found.alternatives:
        others = ", ".join(
            f"{k} ({found.searched[k]:.2f})" for k in found.alternatives[:TOLD_NUMBERS]
        )
        say((f"--k may also be {others}", "dim"))
    for one in found.clusters:
        say((f"{one.id:>4}  {one.name}", "bold"), f"  {one.size} ({one.share:.0%})")
        rest = _unnamed(one.name, [w.word for w in (*one.words, *one.typical)])
        say((f"      cohesion {one.cohesion:.2f}{'; ' if rest else ''}{', '.join(rest)}", "dim"))
        say((f"      most so: {_shown(texts[one.central[0]])}", "dim"))
        say((f"      hardly:  {_shown(texts[one.doubtful[0]])}", "dim"))
    if found.noise:
        share = len(found.noise) / len(found.labels)
        say(f"  -1  noise  {len(found.noise)} ({share:.0%}), in no cluster")
    say()


def _print_cross(table: CrossTable) -> None:
    """Tell the cells that stand out most."""
    cells = [
        (deviation, table.row_names[row], table.column_names[column], row, column)
        for row, line in enumerate(table.deviations)
        for column, deviation in enumerate(line)
        if abs(deviation) >= REMARKABLE
    ]
    say((f"{table.rows} x {table.columns}", "bold cyan"))
    for _, one, other, row, column in sorted(cells, key=lambda c: -abs(c[0]))[:TOLD_CELLS]:
        times = table.times[row][column]
        say(f"  {one} / {other}: {table.counts[row][column]}, {times:.1f} times what chance gives")
    if not cells:
        say("  no cell stands out from what chance gives")
    say()


def _unnamed(name: str, words: Iterable[str]) -> list[str]:
    return [word for word in dict.fromkeys(words) if word not in name.split(", ")][:5]


def _certainty(one: Assignment) -> str:
    return f"similarity {one.similarity:.2f}, {one.margin:.2f} more than the next,"


def _shown(text: str, room: int = 100) -> str:
    text = " ".join(text.split())
    return text if len(text) <= room else text[: room - 3].rstrip() + "..."


def _title(source: str) -> str:
    return "Standard input" if source == "-" else Path(source).name or source
