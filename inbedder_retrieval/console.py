"""What the command line shows: progress, reports, hits and complaints.

Results go to standard output; progress, remarks and complaints to standard error. Texts, names
and paths of the user's are shown as they are: nothing in them is read as markup, and characters
that command a terminal are replaced.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from inbedder_retrieval.bench.machine import Machine
from inbedder_retrieval.collection import CollectionInfo, IndexReport, ViewRecord
from inbedder_retrieval.demo import LABELS, DemoReport
from inbedder_retrieval.documents import AnswerWord, Hit
from inbedder_retrieval.sources import Scan
from inbedder_retrieval.views import Views

__all__ = [
    "ask",
    "complain",
    "counted",
    "out",
    "print_answers",
    "print_demo",
    "print_hit",
    "print_hits",
    "print_info",
    "print_json",
    "print_machine",
    "print_records",
    "print_remarks",
    "print_report",
    "progress_bar",
    "remark",
    "say",
    "status_line",
]

out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, stderr=True)

INDENT = " " * 8
# Cells of the terminal that a metadata value may take.
MAX_VALUE = 60
# Control characters, ends of lines, what turns the direction of writing, halves of UTF-16 pairs.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Rate(ProgressColumn):
    """Texts a second since the start."""

    def render(self, task: Task) -> Text:
        elapsed = max(task.elapsed or 0.0, 0.1)
        return Text(f"{task.completed / elapsed:,.0f}/s" if task.completed else "")


class Move(Protocol):
    """What moves a bar: to how many are done, and of how many where that has changed."""

    def __call__(self, done: int, total: int | None = None) -> None: ...


@contextmanager
def progress_bar(action: str, total: int, *, quiet: bool = False) -> Iterator[Move]:
    """Show a bar with rate and time left where somebody looks on; yield what moves it."""
    columns = (
        SpinnerColumn(),
        TextColumn(action),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    unseen = quiet or not err.is_terminal
    with Progress(*columns, console=err, transient=True, disable=unseen) as progress:
        task = progress.add_task(action, total=total)

        def move(done: int, total: int | None = None) -> None:
            progress.update(task, completed=done, total=total)

        yield move


@contextmanager
def status_line() -> Iterator[Callable[[str], None]]:
    """Show what is being done where somebody looks on; yield what says so."""
    if not err.is_terminal:
        yield lambda _: None
        return
    with err.status(Text("starting")) as status:
        yield lambda text: status.update(Text(_printable(text)))


def say(*parts: str | tuple[str, str]) -> None:
    """Print a line of strings, or of strings with a style, on standard output."""
    out.print(_line(parts))


def remark(*parts: str | tuple[str, str]) -> None:
    """Print a line on standard error, likewise."""
    err.print(_line(parts))


def complain(message: str) -> None:
    """Say on one line of standard error what went wrong."""
    remark(("error:", "bold red"), " ", " ".join(message.split()))


def ask(question: str) -> bool:
    """Ask on standard error, and return whether the answer is yes; it is no unless told."""
    err.print(_line([question, " [y/N] "]), end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def counted(count: int, noun: str) -> str:
    """Return `1 text`, `2 texts`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def print_json(value: Any) -> None:
    """Print one line of JSON, in characters that standard output can write."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value)
    sys.stdout.write(text + "\n")


def print_report(report: IndexReport, scan: Scan, seconds: float) -> None:
    """Say what became of the documents, and what is worth a remark."""
    done = {
        "added": report.added,
        "updated": report.updated,
        "with new metadata": report.relabelled,
        "unchanged": report.unchanged,
    }
    said = ", ".join(f"{count} {what}" for what, count in done.items() if count)
    say(f"{said} in {seconds:.1f} s")
    if not report.written:
        say("Nothing was written: every text is already there as it is.")
    print_remarks(report, scan)


def print_remarks(report: IndexReport, scan: Scan) -> None:
    """Say on standard error what was repeated, cut, empty or passed over."""
    if renamed := report.duplicates - scan.repeated:
        remark(f"{counted(renamed, 'row')} had an id that comes again later; the last one counts")
    if scan.repeated:
        remark(f"repeated word for word and counted once: {counted(scan.repeated, 'row')}")
    if report.truncated:
        remark(f"longer than the model reads and cut: {counted(report.truncated, 'text')}")
    if report.empty:
        remark(
            f"empty: {counted(report.empty, 'text')}; the vector of an empty text is what the "
            "model answers when it knows nothing"
        )
    for message in scan.bad[:3]:
        remark(f"passed over: {message}")
    if scan.bad:
        remark(f"{counted(len(scan.bad), 'row')} could not be read")


def print_hits(hits: Sequence[Hit], digits: int = 3) -> None:
    """Show hits, those of a group under its value."""
    above: object = None
    for hit in hits:
        # 1 and True are different values.
        group = None if hit.group is None else (type(hit.group), hit.group)
        if group is not None and group != above:
            say((_value(hit.group), "bold cyan"))
        above = group
        print_hit(hit, digits=digits)


def print_hit(hit: Hit, labels: tuple[str, ...] | None = None, digits: int = 3) -> None:
    """Show a hit: score and text, then answer words, and its labels or all its metadata.

    With several views each has a line of its own, with its cosine.
    """
    room = max(40, min(out.width, 120) - len(INDENT))
    say((f"{hit.score:6.{digits}f}", "bold"), "  ", _clipped(hit.text, room))
    words = {view: _words(found) for view, found in hit.answers.items() if found}
    if len(hit.scores) > 1:
        answers = [
            f"{view} {score:.3f}" + (f": {words[view]}" if view in words else "")
            for view, score in hit.scores.items()
        ]
        lines = [*answers, _facts(hit, labels)]
    else:
        answers = [f"{view}: {found}" for view, found in words.items()]
        lines = ["  ".join([*answers, _facts(hit, labels)])]
    for line in lines:
        say(INDENT, (line, "dim"))


def print_answers(views: Views, answers: Mapping[str, Sequence[AnswerWord]]) -> None:
    """Show the answer words of a text under each view, with their weights."""
    for view in views:
        _heading(view.name, view.instruction)
        for word in answers[view.name]:
            say(f"  {word.weight:6.1%}  {word.word}")


def print_demo(report: DemoReport) -> None:
    """Show what the demo found."""
    say(
        f"{report.documents} customer messages under {len(report.views)} views, "
        f"indexed in {report.seconds:.1f} s:"
    )
    for name, question in report.views.items():
        say(f"  {name:<8} {_question(question)}")
    say()
    say("The same query under each view; the number is the cosine of the answers:")
    say("  ", (f'"{report.query}"', "bold"))
    for name, question in report.views.items():
        say()
        _heading(name, question)
        for hit in report.hits[name]:
            print_hit(hit, labels=LABELS)
    say()
    say("Of a message's 10 nearest neighbours, how many share its label (chance: 20 %):")
    _shares(report.shares)
    say()
    say("The same with a file of your own (.jsonl, .csv, .txt, a folder):")
    mood = 'mood="How does the writer feel?"'
    say(f"  inbedder index my.jsonl --to my.inb --view general --view {mood}")
    say('  inbedder search my.inb "a text like the one you look for" --view mood')
    say(f'  inbedder explain "a text" --view {mood}')


def print_info(info: CollectionInfo) -> None:
    """Describe a collection."""
    models = sorted({f"{r.model} ({r.fingerprint}, {r.dimension} wide)" for r in info.views})
    views = [f"{record.name}{_state(record, info)}" for record in info.views]
    chosen = info.storage.model_dump(exclude_defaults=True)
    storage = [name if value is True else f"{name} {value}" for name, value in chosen.items()]
    say(f"location   {info.location}")
    say(f"engine     {info.engine}")
    say(f"documents  {info.documents}")
    say(f"views      {', '.join(views)}")
    say(f"model      {', '.join(models)}")
    say(f"storage    {', '.join(storage) or 'as Qdrant has it by default'}")
    say(f"indexes    {', '.join(info.indexed_fields) or 'none yet'}")


def print_machine(machine: Machine, model: str, runtime: str) -> None:
    """Describe an installation and what a model runs on in it."""
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    say(f"machine    {machine}")
    say(f"installed  Python {machine.python}, {versions}")
    say(f"model      {model}")
    say(f"runs on    {runtime}")


def print_records(info: CollectionInfo) -> None:
    """List views and what they ask."""
    width = max(len(record.name) for record in info.views)
    for record in info.views:
        say(f"{record.name:<{width}}  {_question(record.instruction)}{_state(record, info)}")


def _state(record: ViewRecord, info: CollectionInfo) -> str:
    """Say what a view lacks still, and what takes its place."""
    if record.state == "building":
        return f" [being built: {_lack(info.lacking[record.vector])} it]"
    for successor in info.rebuilding:
        if successor.replaces == record.vector:
            other = successor.instruction != record.instruction
            asks = f' as "{successor.instruction}"' if other else ""
            return f" [being rebuilt{asks}: {_lack(info.lacking[successor.vector])} the new vector]"
    return ""


def _lack(count: int) -> str:
    return f"{count} document{' lacks' if count == 1 else 's lack'}"


def _heading(name: str, question: str | None) -> None:
    say((name, "bold cyan"), f" {question}" if question else "")


def _question(instruction: str | None) -> str:
    return instruction or "(no question: the whole text)"


def _shares(shares: Mapping[str, Mapping[str, float]]) -> None:
    """Print a row a view and a column a label; a view's own label is bold."""
    columns = [f"same {label}" for label in next(iter(shares.values()))]
    first = max(map(len, ["view", *shares]))
    say("  ".join([f"{'view':<{first}}", *columns]))
    for view, row in shares.items():
        cells = [
            (f"  {share:>{len(column)}.0%}", "bold" if label == view else "")
            for column, (label, share) in zip(columns, row.items(), strict=True)
        ]
        say(f"{view:<{first}}", *cells)


def _line(parts: Sequence[str | tuple[str, str]]) -> Text:
    styled = ((part, "") if isinstance(part, str) else part for part in parts)
    return Text.assemble(*((_printable(text), style) for text, style in styled))


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub("\ufffd", text)


def _clipped(text: str, room: int) -> str:
    """Return the text on one line, cut to so many cells: some characters take two."""
    text = _printable(" ".join(text.split()))
    return text if cell_len(text) <= room else set_cell_size(text, room - 3).rstrip() + "..."


def _facts(hit: Hit, labels: tuple[str, ...] | None) -> str:
    if labels is not None:
        return " | ".join(_value(hit.metadata[label]) for label in labels)
    return " ".join([f"id={hit.id}", *(f"{k}={_value(v)}" for k, v in hit.metadata.items())])


def _value(value: Any) -> str:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _clipped(shown, MAX_VALUE)


def _words(words: Sequence[AnswerWord]) -> str:
    return ", ".join(word.word for word in words)
