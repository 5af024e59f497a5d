"""The arguments and options of the command line: how they are named, and what help says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Answer",
    "Backend",
    "BenchFile",
    "BenchTexts",
    "BenchViews",
    "BenchWords",
    "Checkpoint",
    "Compiled",
    "CopySource",
    "CopyTarget",
    "CurveFile",
    "DeleteUnknown",
    "DemoQuery",
    "Device",
    "Diversity",
    "Documents",
    "Everything",
    "Exact",
    "ExportPrecision",
    "Fusion",
    "GroupBy",
    "GroupSize",
    "IdField",
    "Ids",
    "Json",
    "JsonFile",
    "Keep",
    "Like",
    "Location",
    "MaybeLocation",
    "MaybeQuery",
    "Mend",
    "MinScore",
    "Model",
    "NewName",
    "NoMemory",
    "NoPeers",
    "Offset",
    "OnLong",
    "Out",
    "Partial",
    "Precision",
    "Quantization",
    "RebuiltView",
    "Repeats",
    "SearchView",
    "SkipBad",
    "Source",
    "Storage",
    "Tenant",
    "Text",
    "TextField",
    "To",
    "TopHits",
    "TopWords",
    "Unlike",
    "Version",
    "View",
    "ViewName",
    "ViewsFile",
    "Where",
    "Words",
    "Yes",
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
CopySource: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="FROM", help="A collection: a folder, http://host:6333/name, or a .parquet file."
    ),
]
CopyTarget: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="TO",
        help="Where there is none yet: a folder, http://host:6333/name, or a .parquet file.",
    ),
]
ViewName: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="A view's name.")]
NewName: TypeAlias = Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")]
MaybeLocation: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="LOCATION", help="A collection; without one, what models run on here is shown."
    ),
]
MaybeQuery: TypeAlias = Annotated[
    str | None, typer.Argument(metavar="QUERY", help="A text like those you look for.")
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
RebuiltView: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--view",
        "-v",
        metavar='NAME[="QUESTION"]',
        help="A view to rebuild, with another question or as it is. May be given many times. "
        "[default: all as they are]",
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
        metavar="FIELD=VALUE",
        help="A condition: also != < <= > >= with a number or a date (2026-01-31), FIELD~TEXT for "
        "a text that holds this one, FIELD? for any value; !~ and !? say where not. May be given "
        "many times.",
    ),
]
Out: TypeAlias = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="The .npz file to write.")
]
TopHits: TypeAlias = Annotated[
    int, typer.Option("--top", metavar="N", help="How many hits, or groups.")
]
Answer: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]ANSWER",
        help="The answer itself that you look for; or one for each view, given many times.",
    ),
]
Like: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="ID", help="A stored text to be like. May be given many times."),
]
Unlike: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="ID", help="A stored text to be unlike. May be given many times."),
]
Fusion: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="sum|ranks", help="How several views are joined: weighted cosines, or ranks."
    ),
]
Offset: TypeAlias = Annotated[
    int, typer.Option(metavar="N", help="How many hits, or groups, to pass over.")
]
MinScore: TypeAlias = Annotated[
    float | None, typer.Option(metavar="SCORE", help="Leave out hits with a lower score.")
]
Diversity: TypeAlias = Annotated[
    float | None,
    typer.Option(metavar="0-1", help="Choose hits unlike each other; 0 is relevance alone."),
]
GroupBy: TypeAlias = Annotated[
    str | None, typer.Option(metavar="FIELD", help="Group hits by the value of this field.")
]
GroupSize: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", help="How many hits of each group. [default: 1]")
]
Exact: TypeAlias = Annotated[
    bool, typer.Option("--exact", help="Compare with every text instead of walking a graph.")
]
Partial: TypeAlias = Annotated[
    bool, typer.Option("--partial", help="Search a view that texts lack still.")
]
Ids: TypeAlias = Annotated[
    list[str] | None, typer.Option("--id", metavar="ID", help="An id. May be given many times.")
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")]
Mend: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do what is shown.")]
DeleteUnknown: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--delete", help="Also delete vectors of no view, and points that hold no document."
    ),
]
Everything: TypeAlias = Annotated[
    bool, typer.Option("--all", help="With --yes: even if --where fits every document.")
]
Quantization: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="scalar|binary|turbo",
        help="For a new collection: smaller copies of vectors, searched first.",
    ),
]
Tenant: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD", help="For a new collection: the field that says whose a document is."
    ),
]
TopWords: TypeAlias = Annotated[
    int, typer.Option("--top", metavar="N", help="How many words.", min=1)
]
Words: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="How many answer words to show. [default: 3, where vectors are read as words]",
        min=0,
    ),
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
ExportPrecision: TypeAlias = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="int8|float16|float32",
        help="int8 for CPUs, float16 for GPUs, float32 for exact vectors without torch.",
    ),
]
Backend: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="onnx|torch",
        help="Of this package. [default: the model's own]",
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
Storage: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--storage", help="Measure instead how fast documents are stored and found, vectors given."
    ),
]
Documents: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--documents",
        metavar="N",
        min=100,
        help="How many documents --storage stores. [default: 100,000]",
    ),
]
