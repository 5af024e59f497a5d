"""Page: an evaluation as one HTML file with pictures, which needs nothing beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from inbedder_retrieval.evaluation.scores import (
    Confusion,
    EvalReport,
    Robustness,
    Score,
    TaskRecord,
)

__all__ = ["bars", "render"]

COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#8e6c8a", "#b08d57", "#4f5d75")
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem;
       padding: 0 1rem; color: #1c1c1c; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .9rem; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.part td:first-child { padding-left: 1.6rem; color: #555; }
.wide { overflow-x: auto; } .small { color: #555; font-size: .85rem; }
.words { font-weight: normal; max-width: 7rem; vertical-align: bottom; }
svg text { font: 12px system-ui, sans-serif; fill: #333; }
"""
LEFT, WIDTH, BAR, ROW = 230, 460, 13, 17
MANNER_COLOURS = {"correct": COLOURS[2], "implicit": COLOURS[0], "incorrect": COLOURS[1]}


def render(report: EvalReport) -> str:
    """Write the page: scores side by side, confusions of clusters with labels, robustness."""
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    parts = [
        f"<h1>{_e(report.model)}</h1>",
        f"<p class=small>{_e(report.runtime)}. {_e(versions)}. All scores are percentages.</p>",
        "<h2>Scores</h2>",
        _scores(report),
        bars(report),
    ]
    if any(task.kind == "clustering" for task in report.tasks):
        parts.append(
            f"<p class=small>Clusters: {_e(report.clustering)}. After ± stands the standard "
            "deviation over seeds. One fit is that of seed 0.</p>"
        )
    parts += _across(report)
    if report.confusions:
        parts.append("<h2>Clusters and labels</h2>")
        parts.append(
            "<p class=small>One fit. Above each column are the answer words of the cluster's mean, "
            "set against the mean of all texts.</p>"
        )
        parts += map(_confusion, report.confusions)
    if report.robustness:
        parts.append("<h2>Robustness</h2>")
        parts.append(
            "<p class=small>A point for each instruction. The gaps are the least correct, or "
            "implicit, score less the most incorrect one.</p>"
        )
        parts += map(_robustness, report.robustness)
    parts += _remarks(report)
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_e(report.model)}: evaluation</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def bars(report: EvalReport) -> str:
    """Draw the scores of every task, a bar for each contender, as one SVG."""
    pieces: list[str] = []
    y = 8
    for number, contender in enumerate(report.contenders):
        pieces.append(_box(LEFT, y, 10, 10, COLOURS[number % len(COLOURS)]))
        pieces.append(f'<text x="{LEFT + 16}" y="{y + 10}">{_e(contender)}</text>')
        y += ROW
    y += 8
    for task in report.tasks:
        top = y
        for number, contender in enumerate(report.contenders):
            score = report.score(task.name, contender)
            if score is None:
                continue
            length = WIDTH * max(score.value, 0) / 100
            pieces.append(_box(LEFT, y, length, BAR, COLOURS[number % len(COLOURS)]))
            if score.spread:
                half, middle = WIDTH * score.spread / 100, y + BAR / 2
                pieces.append(_line(LEFT + length - half, middle, LEFT + length + half, middle))
            pieces.append(
                f'<text x="{LEFT + length + 8 + WIDTH * (score.spread or 0) / 100:.1f}" '
                f'y="{y + BAR - 2}">{score.value:.1f}</text>'
            )
            y += ROW
        label = f"{task.name}, {task.metric}"
        pieces.append(
            f'<text x="{LEFT - 8}" y="{(top + y) / 2 + 2:.1f}" text-anchor="end">{_e(label)}</text>'
        )
        y += 8
    return _svg(LEFT + WIDTH + 80, y, pieces, "Scores of all contenders on all tasks")


def _scores(report: EvalReport) -> str:
    head = ["task", "metric", "rows", *report.contenders]
    rows = [_row(head, "th")]
    for task in report.tasks:
        found = [report.score(task.name, contender) for contender in report.contenders]
        cells = [task.name, task.metric, f"{task.rows:,}", *map(_value, found)]
        rows.append(_row(cells))
        for part in dict.fromkeys(name for score in found if score for name in score.parts):
            values = [score.parts.get(part) if score else None for score in found]
            rows.append(_row([part, "", "", *map(_number, values)], kind="part"))
        if any(score and score.single is not None for score in found):
            values = [score.single if score else None for score in found]
            rows.append(_row(["one fit", "", "", *map(_number, values)], kind="part"))
    if report.awareness:
        values = [report.awareness.get(contender) for contender in report.contenders]
        rows.append(_row(["instruction awareness", "average", "", *map(_number, values)]))
    return f"<div class=wide><table>{''.join(rows)}</table></div>"


def _across(report: EvalReport) -> list[str]:
    """Show, for texts with several aspects, which question finds which labels."""
    found: list[str] = []
    for score in report.scores:
        if not score.across:
            continue
        found.append(f"<h3>{_e(score.task)}: {_e(score.contender)}</h3>")
        labels = list(score.across)
        rows = [_row(["question for", *(f"labels: {label}" for label in labels)], "th")]
        for asked, against in score.across.items():
            cells = [_shaded(against.get(label), 100) for label in labels]
            rows.append(f"<tr><td>{_e(asked)}</td>{''.join(cells)}</tr>")
        found.append(f"<table>{''.join(rows)}</table>")
    return ["<h2>Each question against each label</h2>", *found] if found else []


def _confusion(found: Confusion) -> str:
    named = ", ".join(filter(None, (found.task, found.aspect)))
    most = max(max(row) for row in found.counts)
    words = "".join(
        f'<th class="words">{"<br>".join(map(_e, several)) or number}</th>'
        for number, several in enumerate(found.words, 1)
    )
    rows = "".join(
        f"<tr><td>{_e(label)}</td>{''.join(_shaded(count, most, '.0f') for count in row)}</tr>"
        for label, row in zip(found.labels, found.counts, strict=True)
    )
    return (
        f"<h3>{_e(named)}: {_e(found.instruction or 'no question')}</h3>"
        f"<div class=wide><table><tr><th></th>{words}</tr>{rows}</table></div>"
    )


def _robustness(found: Robustness) -> str:
    named = ", ".join(filter(None, (found.task, found.aspect, found.contender)))
    pieces: list[str] = []
    for number, (manner, scores) in enumerate(
        zip(MANNER_COLOURS, (found.correct, found.implicit, found.incorrect), strict=True)
    ):
        y = 16 + 24 * number
        pieces.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{manner}</text>')
        pieces.append(_line(LEFT, y, LEFT + WIDTH, y, "#ddd"))
        for score in scores:
            title = _e(f"{score.value:.1f}: {score.instruction}")
            pieces.append(
                f'<circle cx="{LEFT + WIDTH * score.value / 100:.1f}" cy="{y}" r="5" '
                f'fill="{MANNER_COLOURS[manner]}" fill-opacity=".6"><title>{title}</title></circle>'
            )
    for mark in range(0, 101, 20):
        x = LEFT + WIDTH * mark / 100
        pieces.append(f'<text x="{x:.0f}" y="88" text-anchor="middle">{mark}</text>')
    listed = "".join(
        _row([manner, score.instruction, f"{score.value:.1f}"])
        for manner, scores in (
            ("correct", found.correct),
            ("implicit", found.implicit),
            ("incorrect", found.incorrect),
        )
        for score in sorted(scores, key=lambda one: -one.value)
    )
    return (
        f"<h3>{_e(named)}: gaps {found.correct_gap:+.1f} (correct), "
        f"{found.implicit_gap:+.1f} (implicit)</h3>"
        + _svg(LEFT + WIDTH + 40, 96, pieces, f"Scores by instruction, {named}")
        + f"<details><summary>instructions</summary><table>{listed}</table></details>"
    )


def _remarks(report: EvalReport) -> list[str]:
    def told(task: TaskRecord) -> str:
        asked = f", {task.instructions:,} instructions" if task.instructions else ""
        bad = f", {len(task.bad)} broken rows passed over" if task.bad else ""
        return f"{task.name}: {task.source}, {task.rows:,} rows{asked}{bad}"

    faults = [fault for task in report.tasks for fault in task.bad]
    left = [f"left out: {what}: {why}" for what, why in report.missing.items()]
    parts = ["<h2>What was measured</h2>", _list(map(told, report.tasks))]
    return [*parts, _list([*faults, *left])] if faults or left else parts


def _value(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{score.value:.1f}" + ("" if score.spread is None else f" ± {score.spread:.1f}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _row(cells: Sequence[str], tag: str = "td", kind: str = "") -> str:
    marked = f' class="{kind}"' if kind else ""
    return f"<tr{marked}>{''.join(f'<{tag}>{_e(cell)}</{tag}>' for cell in cells)}</tr>"


def _shaded(value: float | None, most: float, form: str = ".1f") -> str:
    if value is None:
        return "<td></td>"
    share = min(max(value / most, 0), 1) if most else 0
    return f'<td style="background:rgba(27,108,168,{0.75 * share:.2f})">{value:{form}}</td>'


def _list(items: Iterable[str]) -> str:
    return f"<ul class=small>{''.join(f'<li>{_e(item)}</li>' for item in items)}</ul>"


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def _line(x: float, y: float, x2: float, y2: float, colour: str = "#222") -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _svg(width: float, height: float, pieces: Iterable[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" role="img"><title>{_e(title)}</title>{"".join(pieces)}</svg>'
    )


def _e(text: str) -> str:
    return escape(text, quote=True)
