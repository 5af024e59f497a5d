"""`inbedder views`: the views of a collection are listed, added and dropped."""

from __future__ import annotations

import time

import typer

from inbedder_retrieval import options
from inbedder_retrieval.arguments import require_views
from inbedder_retrieval.collection import ViewCollection
from inbedder_retrieval.console import (
    counted,
    out,
    print_json,
    print_records,
    progress_bar,
    say,
)

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
        records = collection.info().views
    if as_json:
        print_json([record.model_dump(mode="json") for record in records])
    else:
        print_records(records)


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
            filled = collection.add_view(asked, progress=lambda done, _: progress(done))
        names = collection.views.names
    seconds = time.perf_counter() - start
    if as_json:
        print_json({"embedded": filled, "views": names, "seconds": seconds})
        return
    say(f"{counted(filled, 'document')} embedded in {seconds:.1f} s")
    say(f"{location} holds {counted(total, 'document')} under {', '.join(names)}.")


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
