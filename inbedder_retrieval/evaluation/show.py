"""What an evaluation found, for people to read in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from inbedder_retrieval.console import counted, remark, say
from inbedder_retrieval.evaluation.scores import EvalReport, Score

__all__ = ["print_eval"]

WORST_ROWS = 3


def print_eval(report: EvalReport) -> None:
    """Show the table of scores, what stands behind them, and what was left out."""
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    say(f"{report.model} as {report.runtime}; {versions}")
    if any(task.kind == "clustering" for task in report.tasks):
        say(f"clusters: {report.clustering}")
    rows: list[tuple[str, ...]] = [("percent", "metric", "rows", *report.contenders)]
    for task in report.tasks:
        found = [report.score(task.name, contender) for contender in report.contenders]
        rows.append((task.name, task.metric, f"{task.rows:,}", *map(_value, found)))
        for part in dict.fromkeys(name for score in found if score for name in score.parts):
            values = (score.parts.get(part) if score else None for score in found)
            rows.append((f"  {part}", "", "", *map(_number, values)))
    if report.awareness:
        values = (report.awareness.get(contender) for contender in report.contenders)
        rows.append(("instruction awareness", "average of three", "", *map(_number, values)))
    _print_rows(rows)
    if report.robustness:
        head = ("robustness", "correct", "implicit", "incorrect", "correct gap", "implicit gap")
        rows = [head]
        for found_one in report.robustness:
            name = ".".join(filter(None, (found_one.task, found_one.aspect)))
            spans = (
                f"{min(values):.1f} to {max(values):.1f}"
                for values in (
                    [score.value for score in scores]
                    for scores in (found_one.correct, found_one.implicit, found_one.incorrect)
                )
            )
            gaps = (f"{found_one.correct_gap:+.1f}", f"{found_one.implicit_gap:+.1f}")
            rows.append((f"{name}, {found_one.contender}", *spans, *gaps))
        _print_rows(rows)
    for task in report.tasks:
        for fault in task.bad[:WORST_ROWS]:
            remark(f"passed over: {fault}")
        if len(task.bad) > WORST_ROWS:
            remark(f"{task.name}: {counted(len(task.bad), 'broken row')} in all")
    for what, why in report.missing.items():
        remark(f"left out: {what}: {why}")


def _value(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{score.value:.1f}" + ("" if score.spread is None else f" ± {score.spread:.1f}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Print an empty line and rows in columns, the first row as their head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    say()
    for number, (first, *rest) in enumerate(rows):
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        line = "  ".join([first.ljust(widths[0]), *cells]).rstrip()
        say((line, "bold" if number == 0 else ""))
