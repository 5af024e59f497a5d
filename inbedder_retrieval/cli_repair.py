"""`inbedder repair`: what is wrong with a collection, what would be done, and only then done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inbedder_retrieval import options
from inbedder_retrieval.collection import Findings, ViewCollection
from inbedder_retrieval.console import counted, print_json, say

__all__ = ["repair"]

# How many of a list are named.
SHOWN = 5


def repair(
    location: options.Location,
    yes: options.Mend = False,
    delete: options.DeleteUnknown = False,
    as_json: options.Json = False,
) -> None:
    """Find what is wrong with a collection, and mend it with --yes."""
    with ViewCollection.open(location) as collection:
        found = collection.check()
        left = collection.repair(found, delete=delete) if yes and not found.clean else None
    if as_json:
        after = None if left is None else left.model_dump()
        print_json({"found": found.model_dump(), "left": after})
        return
    if found.clean:
        say(f"{location}: nothing is wrong with {counted(found.documents, 'document')}.")
        return
    for wrong, remedy in _lines(found, delete):
        say(wrong)
        say("    ", remedy)
    if left is None:
        say("Nothing was done; to do it, add --yes.")
    elif left.clean:
        say(f"Mended; {location} holds {counted(left.documents, 'document')}.")
    else:
        say("Mended, but for this:")
        for wrong, _ in _lines(left, delete):
            say(wrong)


def _lines(found: Findings, delete: bool) -> Iterator[tuple[str, str]]:
    """Yield what is wrong and what is done about it."""
    unknown = "delete them" if delete else "leave them; with --delete they are deleted"
    every = f"embed {counted(found.documents, 'document')}"
    lists = (
        ("views that are not finished", found.unfinished, f"finish them: {every} that lack them"),
        ("vectors of dropped views", found.dropped, "delete them"),
        ("entries that stand for no view", found.strays, "set the registry right"),
        ("views without their vectors", found.missing, f"make them anew and {every}"),
    )
    for what, names, remedy in lists:
        if names:
            yield f"{what}: {_some(names)}", remedy
    for view, lacking in found.lacking.items():
        yield f"{counted(lacking, 'document')} without view {view}", "embed them"
    lists = (
        ("documents whose text was changed by others", found.edited, "embed them again"),
        (
            "points that are not where their document belongs",
            found.misplaced,
            "move them; one whose place is taken: " + unknown,
        ),
        ("vectors that no view lists", found.orphans, unknown),
        ("points that hold no document", found.foreign, unknown),
    )
    for what, names, remedy in lists:
        if names:
            yield f"{what}: {_some(names)}", remedy


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
