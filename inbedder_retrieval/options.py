"""The arguments and options of the command line: how they are named, and what help says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Backend",
    "BenchFile",
    "BenchTexts",
    "BenchViews",
    "BenchWords",
    "Checkpoint",
    "Compiled",
    "CurveFile",
    "DemoQuery",
    "Device",
    "IdField",
    "Json",
    "JsonFile",
    "Keep",
    "Location",
    "MaybeLocation",
    "Model",
    "NoMemory",
    "NoPeers",
    "OnLong",
    "Out",
    "Precision",
    "Query",
    "Repeats",
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
    "ViewName",
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
ViewName: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="A view's name.")]
MaybeLocation: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="[LOCATION]", help="A collection; without one, what models run on here is shown."
    ),
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
BenchViews: TypeAlias = Annotated[
    list[int] | None,
    typer.Option(
        "--views",
        metavar="N",
        min=1,
        max=64,
        help="How many questions, 1 to 64. May be given many times. "
        "[default: 1 and 8; with --curve up to 64]",
    ),
]
BenchWords: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--words", metavar="N|N-N", help="The length of the texts in words. [default: 1-90]"
    ),
]
BenchTexts: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--texts",
        metavar="N",
        min=1,
        help="How many texts at most. [default: 400; with --curve 100,000]",
    ),
]
BenchFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="Texts of your own, one a line."),
]
Device: TypeAlias = Annotated[
    str, typer.Option("--device", metavar="cpu|cuda", help="Where to run.")
]
Precision: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="int8|float32|float16|bfloat16",
        help="Of this package. [default: the backend's own]",
    ),
]
Backend: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--backend", metavar="onnx|torch", help="Of this package. [default: the model's own]"
    ),
]
Compiled: TypeAlias = Annotated[
    bool, typer.Option("--compiled", help="Compile this package's model with torch.")
]
Repeats: TypeAlias = Annotated[
    int, typer.Option("--repeats", metavar="N", min=1, help="Turns; their median counts.")
]
NoPeers: TypeAlias = Annotated[bool, typer.Option("--no-peers", help="Measure this package alone.")]
NoMemory: TypeAlias = Annotated[bool, typer.Option("--no-memory", help="Measure no memory.")]
JsonFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write all figures to this file as well."),
]
CurveFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--curve",
        metavar="FILE",
        help="Measure instead how cost grows with questions, length and texts; write it here.",
    ),
]
