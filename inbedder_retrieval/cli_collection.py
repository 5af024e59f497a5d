"""Commands for a collection as a whole: it is described, optimized, and thinned out."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict

from inbedder_retrieval import options
from inbedder_retrieval.arguments import parse_conditions
from inbedder_retrieval.bench.machine import this_machine
from inbedder_retrieval.collection import ViewCollection, Where
from inbedder_retrieval.console import (
    ask,
    counted,
    print_info,
    print_json,
    print_machine,
    say,
    status_line,
)
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.errors import InputError

__all__ = ["delete", "info", "optimize"]

# What `optimize` has come to, by the engine's kind.
OPTIMIZED = {
    "edge": "Searches walk its graphs now; what is too little for one, or added later, is compared "
    "in full.",
    "server": "The server has built the graphs of all that is stored.",
    "local": "Nothing to build: this engine compares with every document.",
}


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


def optimize(location: options.Location, as_json: options.Json = False) -> None:
    """Build the search graphs of a folder; wait for a server's."""
    start = time.perf_counter()
    with ViewCollection.open(location) as collection, status_line() as show:
        show("optimizing")
        collection.optimize(progress=lambda seconds: show(f"optimizing, {seconds:.0f} s"))
        seconds = time.perf_counter() - start
        found = collection.info()
    if as_json:
        print_json({"engine": found.engine, "documents": found.documents, "seconds": seconds})
        return
    held = f"{counted(found.documents, 'document')} under {counted(len(found.views), 'view')}"
    say(f"{location}: {held} optimized in {seconds:.1f} s")
    say(OPTIMIZED[found.engine.split()[0]])


def delete(
    location: options.Location,
    ids: options.Ids = None,
    where: options.Where = None,
    yes: options.Yes = False,
    everything: options.Everything = False,
    as_json: options.Json = False,
) -> None:
    """Delete documents, by id or by condition."""
    if bool(ids) == bool(where):
        raise InputError("name what to delete: --id or --where, and not both")
    fitting = Where.ids(ids) if ids else parse_conditions(where)
    with ViewCollection.open(location) as collection:
        total, found = collection.count(), collection.count(fitting)
        agreed = found > 0 and _agreed(found, total, bool(where), yes, everything, as_json)
        deleted = collection.delete(ids or None, filter=None if ids else fitting) if agreed else 0
        left = collection.count()
    if as_json:
        print_json({"deleted": deleted, "documents": left})
    elif deleted:
        say(f"{counted(deleted, 'document')} deleted; {location} holds {left}.")
    else:
        reason = "" if found else f"No document fits {'--id' if ids else '--where'}; "
        say(f"{reason}nothing was deleted.")


def _agreed(
    found: int, total: int, by_filter: bool, yes: bool, everything: bool, as_json: bool
) -> bool:
    """Whether to delete, which somebody at a terminal is asked."""
    documents = counted(found, "document")
    # Whoever lists ids knows which they are; a condition may fit more than was meant.
    all_of_them = by_filter and found == total
    if yes:
        if all_of_them and not everything:
            raise InputError(
                f"--where fits every document ({documents}), and nothing was deleted; add --all if "
                "that is meant"
            )
        return True
    if as_json or not sys.stdin.isatty():
        raise InputError(
            f"{documents} of {total} would be deleted, and nobody can be asked here, so nothing "
            "was; add --yes"
        )
    which = f"ALL {documents}" if all_of_them else f"{documents} of {total}"
    return ask(f"Delete {which}?")
