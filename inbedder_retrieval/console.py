"""What the command line shows: progress, reports, hits and complaints.

Results go to standard output; progress, remarks and complaints to standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
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

from inbedder_retrieval.collection import IndexReport
from inbedder_retrieval.documents import AnswerWord, Hit
from inbedder_retrieval.sources import Scan

__all__ = [
    "complain",
    "err",
    "out",
    "print_hit",
    "print_json",
    "print_remarks",
    "print_report",
    "progress_bar",
]

out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)


class Rate(ProgressColumn):
    """Texts a second since the start."""

    def render(self, task: Task) -> Text:
        elapsed = task.elapsed or 0.0
        return Text(f"{task.completed / elapsed:,.0f}/s" if elapsed > 0.1 else "")


@contextmanager
def progress_bar(
    action: str, total: int, *, quiet: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show a bar with rate and time left on standard error; yield what moves it."""
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
    with Progress(*columns, console=err, transient=True, disable=quiet) as progress:
        task = progress.add_task(action, total=total)

        def move(done: int) -> None:
            progress.update(task, completed=done)

        yield move


def print_report(report: IndexReport, scan: Scan, seconds: float) -> None:
    """Say what became of the documents, and what is worth a remark."""
    done = {
        "added": report.added,
        "updated": report.updated,
        "with new metadata": report.relabelled,
        "unchanged": report.unchanged,
    }
    said = ", ".join(f"{count} {what}" for what, count in done.items() if count)
    out.print(f"{said} in {seconds:.1f} s")
    if not report.written:
        out.print("Nothing was written: every text is already there as it is.")
    print_remarks(report, scan)


def print_remarks(report: IndexReport, scan: Scan) -> None:
    """Say on standard error what was repeated, cut, empty or passed over."""
    if report.duplicates:
        err.print(f"{report.duplicates} rows had an id that comes again later; the last one counts")
    if report.truncated:
        err.print(f"{report.truncated} texts are longer than the model reads and were cut")
    if report.empty:
        err.print(
            f"{report.empty} texts are empty; their vector is what the model answers when it "
            "knows nothing"
        )
    for message in scan.bad[:3]:
        err.print(f"passed over: {escape(message)}")
    if scan.bad:
        err.print(f"{len(scan.bad)} rows could not be read and were passed over")


def print_hit(hit: Hit, labels: tuple[str, ...] | None = None) -> None:
    """Show a hit: score and text, then answer words, and its labels or all its metadata."""
    text = " ".join(hit.text.split())
    room = max(40, min(out.width, 120) - 8)
    shown = text if len(text) <= room else text[: room - 3] + "..."
    out.print(f"[bold]{hit.score:6.3f}[/]  {escape(shown)}", soft_wrap=True)
    facts = [f"{view}: {_words(words)}" for view, words in hit.answers.items() if words]
    if len(hit.scores) > 1:
        facts.append(" ".join(f"{name} {score:.3f}" for name, score in hit.scores.items()))
    if labels is None:
        facts.append(" ".join([f"id={hit.id}", *(f"{k}={v}" for k, v in hit.metadata.items())]))
    else:
        facts.append(" | ".join(str(hit.metadata[label]) for label in labels))
    out.print(f"        [dim]{escape('  '.join(facts))}[/]")


def _words(words: list[AnswerWord]) -> str:
    return ", ".join(word.word for word in words)


def print_json(value: Any) -> None:
    """Print one line of JSON."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def complain(message: str) -> None:
    """Say on one line of standard error what went wrong."""
    err.print(f"[bold red]error:[/] {escape(' '.join(message.split()))}")
