"""`inbedder views`: the views of a collection are listed, added, rebuilt, renamed and dropped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import typer

from inbedder_retrieval import options
from inbedder_retrieval.arguments import parse_views, require_views
from inbedder_retrieval.collection import CollectionInfo, ViewCollection
from inbedder_retrieval.console import (
    counted,
    out,
    print_json,
    print_records,
    progress_bar,
    say,
)
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.errors import UnknownView
from inbedder_retrieval.views import View, Views

__all__ = ["show_help", "views_app"]

views_app = typer.Typer(help="The views of a collection.")


@views_app.callback(invoke_without_command=True)
def show_help(context: typer.Context) -> None:
    """Print the help of a command that was given none of its own."""
    if context.invoked_subcommand is None:
        out.print(context.get_help())


@views_app.command("list")
def list_views(location: options.Location, as_json: options.Json = False) -> None:
    """List views and their questions."""
    with ViewCollection.open(location) as collection:
        found = collection.info()
    if as_json:
        print_json(_rows(found))
    else:
        print_records(found)


@views_app.command("add")
def add_views(
    location: options.Location,
    view: options.View = None,
    views: options.ViewsFile = None,
    as_json: options.Json = False,
) -> None:
    """Ask further questions of all documents."""
    asked = require_views(view, views)
    start = time.perf_counter()
    with ViewCollection.open(location) as collection:
        total = collection.count()
        with progress_bar("embedding", total, quiet=as_json) as progress:
            filled = collection.add_view(asked, progress=progress)
        names = collection.views.names
    seconds = time.perf_counter() - start
    if as_json:
        print_json({"embedded": filled, "views": names, "seconds": seconds})
        return
    say(f"{counted(filled, 'document')} embedded in {seconds:.1f} s")
    say(f"{location} holds {counted(total, 'document')} under {', '.join(names)}.")


@views_app.command("rebuild")
def rebuild_views(
    location: options.Location,
    view: options.RebuiltView = None,
    views: options.ViewsFile = None,
    model: options.Model = None,
    as_json: options.Json = False,
) -> None:
    """Embed all documents anew: another question, another model."""
    start = time.perf_counter()
    with ViewCollection.open(location) as collection:
        asked = _rebuilt(view, views, collection.views)
        embedder = Embedder(model) if model else None
        with progress_bar("embedding", collection.count(), quiet=as_json) as progress:
            filled = collection.rebuild_view(asked, embedder=embedder, progress=progress)
        names, name = collection.views.names, collection.embedder.name
    seconds = time.perf_counter() - start
    rebuilt = names if asked is None else asked.names
    if as_json:
        print_json({"embedded": filled, "rebuilt": rebuilt, "model": name, "seconds": seconds})
        return
    say(f"{counted(filled, 'document')} embedded in {seconds:.1f} s")
    say(f"{location} holds {', '.join(rebuilt)} anew, by {name}.")


@views_app.command("rename")
def rename_view(
    location: options.Location,
    name: options.ViewName,
    to: options.NewName,
    as_json: options.Json = False,
) -> None:
    """Call a view by another name; its question and vectors stay."""
    with ViewCollection.open(location) as collection:
        collection.rename_view(name, to)
        names = collection.views.names
    if as_json:
        print_json({"renamed": name, "to": to, "views": names})
    else:
        say(f"{name} is {to} now; {location} holds {', '.join(names)}.")


@views_app.command("drop")
def drop_view(
    location: options.Location, name: options.ViewName, as_json: options.Json = False
) -> None:
    """Forget a view and delete its vectors."""
    with ViewCollection.open(location) as collection:
        collection.drop_view(name)
        names = collection.views.names
    if as_json:
        print_json({"dropped": name, "views": names})
    else:
        say(f"{name} is gone; {location} holds {', '.join(names)}.")


def _rebuilt(given: list[str] | None, file: Path | None, have: Views) -> Views | None:
    """Read the views to rebuild; one that is named alone asks what it asks now."""
    if not given or file is not None:
        return parse_views(given, file)
    asked: list[View] = []
    for text in given:
        if "=" in text:
            asked.append(View.parse(text))
        elif text.strip() in have.names:
            asked.append(have[text.strip()])
        else:
            raise UnknownView(
                f"there is no view {text.strip()!r} here; the collection has "
                f"{', '.join(have.names)}"
            )
    return Views(asked)


def _rows(info: CollectionInfo) -> list[dict[str, Any]]:
    """Return the views, each with what it lacks still and what takes its place."""
    rows = {record.vector: record.model_dump(mode="json") for record in info.views}
    coming = {record.vector: record.model_dump(mode="json") for record in info.rebuilding}
    for vector, lacking in info.lacking.items():
        (rows | coming)[vector]["lacking"] = lacking
    for row in coming.values():
        if row["replaces"] in rows:
            rows[row["replaces"]]["rebuilding"] = row
    return list(rows.values())
