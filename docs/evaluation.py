"""Write the tables of docs/evaluation.md from what `inbedder eval --json FILE` wrote, and draw.

    python docs/evaluation.py scores.json robustness.json

The scores of the first file are drawn into docs/evaluation.svg; of the second, robustness is told.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from inbedder_retrieval.evaluation.page import bars
from inbedder_retrieval.evaluation.scores import EvalReport, InstructionScore, Score

FOLDER = Path(__file__).parent


def main(argv: list[str] | None = None) -> None:
    """Read the files, draw, and rewrite what stands between the markers."""
    parser = argparse.ArgumentParser(description="Write the evaluation's tables.")
    parser.add_argument("scores", type=Path, metavar="FILE")
    parser.add_argument("robustness", type=Path, metavar="FILE")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="FOLDER")
    given = parser.parse_args(argv)
    scores, robustness = (
        EvalReport.model_validate_json(path.read_text(encoding="utf-8"))
        for path in (given.scores, given.robustness)
    )
    page = given.into / "evaluation.md"
    text = page.read_text(encoding="utf-8")
    parts = {
        "scores": score_table(scores),
        "across": across_tables(scores),
        "clusters": cluster_words(scores),
        "robustness": robustness_table(robustness),
    }
    for name, new in parts.items():
        text = between(text, name, new)
    page.write_text(text, encoding="utf-8")
    (given.into / "evaluation.svg").write_text(bars(scores) + "\n", encoding="utf-8")


def between(text: str, name: str, new: str) -> str:
    """Return the text with what stands between the markers of a name replaced."""
    start, stop = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(stop)
    if not found or not closed:
        raise SystemExit(f"the page has no {start} followed by {stop}; put both where it belongs")
    return f"{before}{start}\n{new.strip()}\n{stop}{after}"


def score_table(report: EvalReport) -> str:
    """Write what was run, and every contender's score on every task."""
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    rows = [["set", "metric", "rows", *report.contenders]]
    for task in report.tasks:
        found = [report.score(task.name, contender) for contender in report.contenders]
        rows.append([task.name, task.metric, f"{task.rows:,}", *map(_value, found)])
        for part in dict.fromkeys(name for score in found if score for name in score.parts):
            values = [f"{score.parts[part]:.1f}" if score else "" for score in found]
            rows.append([f"... {part}", "", "", *values])
        if any(score and score.single is not None for score in found):
            single = [f"{score.single:.1f}" if score and score.single else "" for score in found]
            rows.append(["... one fit", "", "", *single])
    head = f"{report.model} as {report.runtime}. {report.clustering}. {versions}."
    return f"{head}\n\n{_table(rows)}"


def across_tables(report: EvalReport) -> str:
    """Write, for texts with several labels, what each question's clusters say of each."""
    tables: list[str] = []
    for score in report.scores:
        if score.across:
            labels = list(score.across)
            rows = [[f"{score.contender}: question for", *labels]]
            rows += [
                [asked, *(f"{against[label]:.1f}" for label in labels)]
                for asked, against in score.across.items()
            ]
            tables.append(_table(rows))
    return "\n\n".join(tables)


def cluster_words(report: EvalReport) -> str:
    """Write, for each view, the clusters' answer words beside the labels they hold."""
    lines: list[str] = []
    for found in report.confusions:
        # More clusters than can be read at a glance are in the HTML report.
        if len(found.labels) > 10:
            continue
        rows = [[f"{found.task}{f', {found.aspect}' if found.aspect else ''}", *found.labels]]
        for number, words in enumerate(found.words):
            counts = [f"{row[number]}" if row[number] else "" for row in found.counts]
            rows.append([", ".join(words), *counts])
        lines.append(_table(rows))
    return "\n\n".join(lines)


def robustness_table(report: EvalReport) -> str:
    """Write the span of scores under each manner of instruction, and the gaps."""
    rows = [["set", "correct", "implicit", "incorrect", "correct gap", "implicit gap"]]
    for found in report.robustness:
        rows.append(
            [
                f"{found.task}{f', {found.aspect}' if found.aspect else ''}",
                _span(found.correct),
                _span(found.implicit),
                _span(found.incorrect),
                f"{found.correct_gap:+.1f}",
                f"{found.implicit_gap:+.1f}",
            ]
        )
    return f"{report.clustering}.\n\n{_table(rows)}"


def _span(scores: Sequence[InstructionScore]) -> str:
    values = [score.value for score in scores]
    mean = sum(values) / len(values)
    return f"{mean:.1f} ({min(values):.1f} to {max(values):.1f})"


def _value(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{score.value:.1f}" + ("" if score.spread is None else f" ± {score.spread:.1f}")


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


if __name__ == "__main__":
    main()
