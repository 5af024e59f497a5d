"""Draw the cost curve and write its tables from what `inbedder bench --curve FILE` wrote.

    python docs/cost.py curve.json

Writes docs/cost.svg, and the tables in docs/cost.md between its markers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from inbedder_retrieval.bench.curve import Curve, Point

START, STOP = "<!-- cost -->", "<!-- /cost -->"
FOLDER = Path(__file__).parent
COLOURS = ("#1b6ca8", "#c8553d")

Number = Callable[[Point], float]


def main(argv: list[str] | None = None) -> None:
    """Read the file, draw, and rewrite what stands between the markers."""
    parser = argparse.ArgumentParser(description="Draw the cost curve.")
    parser.add_argument("curve", type=Path, metavar="FILE")
    parser.add_argument("--into", type=Path, default=FOLDER, metavar="FOLDER")
    given = parser.parse_args(argv)
    curve = Curve.model_validate_json(given.curve.read_text(encoding="utf-8"))
    draw(curve, given.into / "cost.svg")
    page = given.into / "cost.md"
    before, found, rest = page.read_text(encoding="utf-8").partition(START)
    _, closed, after = rest.partition(STOP)
    if not found or not closed:
        raise SystemExit(f"{page} has no {START} followed by {STOP}; put both where this belongs")
    page.write_text(f"{before}{START}\n{tables(curve)}\n{STOP}{after}", encoding="utf-8")


def draw(curve: Curve, file: Path) -> None:
    """Draw time above and memory below, along questions, length and number of texts."""
    settings: dict[Any, Any] = {
        "svg.hashsalt": "inbedder",
        "font.size": 9,
        "axes.grid": True,
        "grid.alpha": 0.3,
    }
    with mpl.rc_context(settings):
        figure, axes = plt.subplots(2, 3, figsize=(10, 5.4), sharex="col", layout="constrained")
        by_questions = {f"{curve.by_questions[0].pieces:.0f} pieces a text": curve.by_questions}
        counts = sorted({point.questions for point in curve.by_length})
        by_length = {
            f"{count} question{'s' * (count > 1)}": [
                point for point in curve.by_length if point.questions == count
            ]
            for count in counts
        }
        columns: list[tuple[dict[str, list[Point]], Number, str]] = [
            (by_questions, lambda point: point.questions, "questions"),
            (by_length, lambda point: point.pieces, "word pieces in a text"),
            ({"1 question": curve.by_texts}, lambda point: point.texts, "short texts, streamed"),
        ]
        for number, (series, along, label) in enumerate(columns):
            streamed = number == 2
            time, memory = axes[0, number], axes[1, number]
            _times(time, series, along, per_text=not streamed)
            for colour, points in zip(COLOURS, series.values(), strict=False):
                memory.plot(
                    [along(p) for p in points], [p.peak_mib for p in points], "o-", color=colour
                )
            time.set_ylabel("seconds" if streamed else "milliseconds a text")
            memory.set_ylabel("peak MiB")
            memory.set_ylim(0, 1.2 * max(p.peak_mib for points in series.values() for p in points))
            memory.set_xlabel(label)
            if not streamed:
                places = sorted({along(point) for points in series.values() for point in points})
                memory.set_xticks(places, [f"{place:.0f}" for place in places])
                memory.xaxis.set_minor_locator(NullLocator())
        figure.suptitle(f"{curve.model} as {curve.runtime}: {curve.machine}", fontsize=9)
        figure.savefig(file, metadata={"Date": None})
        plt.close(figure)


def _times(axes: Axes, series: dict[str, list[Point]], along: Number, *, per_text: bool) -> None:
    """Plot seconds, or milliseconds a text, and what they were if tokens alone decided."""
    axes.set_xscale("log", base=2 if per_text else 10)
    axes.set_yscale("log")
    for colour, (name, points) in zip(COLOURS, series.items(), strict=False):
        places = [along(point) for point in points]
        scale = [1000 / point.texts if per_text else 1.0 for point in points]
        seconds = [s * point.seconds for s, point in zip(scale, points, strict=True)]
        axes.plot(places, seconds, "o-", color=colour, label=name)
        rate = points[0].seconds / points[0].tokens
        linear = [s * point.tokens * rate for s, point in zip(scale, points, strict=True)]
        axes.plot(places, linear, "--", color=colour, alpha=0.6)
    axes.plot([], [], "--", color="grey", label="linear in tokens")
    axes.yaxis.set_major_formatter("{x:g}")
    low, high = axes.get_ylim()
    # The ticks between powers of ten are named where there are few of them.
    axes.yaxis.set_minor_formatter("{x:g}" if high < 30 * low else NullFormatter())
    axes.legend(frameon=False)


def tables(curve: Curve) -> str:
    """Write the points as Markdown tables."""
    versions = ", ".join(f"{name} {number}" for name, number in curve.machine.versions.items())
    lines = [
        f"{curve.machine}; {curve.model} as {curve.runtime}. Python {curve.machine.python}, "
        f"{versions}.",
        "",
        f"The model reads {curve.longest} word pieces of a text. Longer texts are cut there and "
        "cost no more, so lengths end there.",
    ]
    for title, points in (
        ("More questions of the same texts", curve.by_questions),
        ("Longer texts", curve.by_length),
        ("More short texts, streamed", curve.by_texts),
    ):
        lines += ["", f"## {title}", "", *_table(points)]
    return "\n".join(lines)


def _table(points: Sequence[Point]) -> list[str]:
    on_gpu = any(point.device_mib is not None for point in points)
    head = ["questions", "word pieces", "texts", "tokens", "seconds", "us a token", "peak MiB"]
    head += ["GPU MiB"] * on_gpu
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for point in points:
        cells = [
            f"{point.questions}",
            f"{point.pieces:.0f}",
            f"{point.texts:,}",
            f"{point.tokens:,}",
            f"{point.seconds:.3f}",
            f"{point.microseconds_per_token:.2f}",
            f"{point.peak_mib:,.0f}",
        ]
        if on_gpu:
            cells.append("" if point.device_mib is None else f"{point.device_mib:,.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
