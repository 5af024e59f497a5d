"""The arguments and options of the command line: how they are named, and what help says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Checkpoint",
    "DemoQuery",
    "IdField",
    "Json",
    "Keep",
    "Location",
    "Model",
    "OnLong",
    "Out",
    "Query",
    "SearchView",
    "SkipBad",
    "Source",
    "Text",
    "TextField",
    "To",
    "TopHits",
    "TopWords",
    "Version",
    "View",
    "ViewsFile",
    "Where",
    "Words",
]

Source: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help=".jsonl, .csv, .parquet, .txt, .md, a folder of .txt and .md, or - (standard input).",
    ),
]
Location: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="LOCATION", help="A collection: a folder, or http://host:6333/name."),
]
Query: TypeAlias = Annotated[
    str, typer.Argument(metavar="QUERY", help="A text like those you look for.")
]
Text: TypeAlias = Annotated[str, typer.Argument(metavar="TEXT", help="The text to ask about.")]
Checkpoint: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="A checkpoint: safetensors and inbedder.json.")
]
To: TypeAlias = Annotated[
    str,
    typer.Option(metavar="LOCATION", help="The collection: a folder, or http://host:6333/name."),
]
Keep: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Where to keep the collection. [default: nowhere]"),
]
DemoQuery: TypeAlias = Annotated[str, typer.Option(metavar="TEXT", help="What to search for.")]
View: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--view",
        "-v",
        metavar='NAME="QUESTION"',
        help="A view; or general, which asks nothing. May be given many times.",
    ),
]
SearchView: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--view",
        "-v",
        metavar="NAME[=WEIGHT]",
        help="A view to search, and what it weighs. May be given many times.",
    ),
]
ViewsFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--views", metavar="FILE", help="A .toml or .json file of views instead."),
]
Model: TypeAlias = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help="A packaged model, a folder, or owner/name."),
]
TextField: TypeAlias = Annotated[
    str, typer.Option(metavar="FIELD", help="The field that holds the text.")
]
IdField: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD", help="The field that holds the id. [default: id, if there is one]"
    ),
]
SkipBad: TypeAlias = Annotated[
    bool, typer.Option("--skip-bad", help="Go on past rows that cannot be read.")
]
OnLong: TypeAlias = Annotated[
    str,
    typer.Option(metavar="cut|error", help="What to do with texts longer than the model reads."),
]
Where: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=VALUE", help="A condition (also != < <= > >=). May be given many times."
    ),
]
Out: TypeAlias = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="The .npz file to write.")
]
TopHits: TypeAlias = Annotated[int, typer.Option("--top", metavar="N", help="How many hits.")]
TopWords: TypeAlias = Annotated[
    int, typer.Option("--top", metavar="N", help="How many words.", min=1)
]
Words: TypeAlias = Annotated[
    int, typer.Option(metavar="N", help="How many answer words to show.", min=0)
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Version: TypeAlias = Annotated[bool, typer.Option("--version", help="Show the version.")]
