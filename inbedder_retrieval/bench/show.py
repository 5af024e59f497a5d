"""What was measured, for people to read in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from inbedder_retrieval.bench.curve import Curve
from inbedder_retrieval.bench.figures import OURS, BenchReport, Speed
from inbedder_retrieval.console import counted, remark, say

__all__ = ["print_bench", "print_curve"]


def print_bench(report: BenchReport) -> None:
    """Show what was measured: speeds beside the peers', latency, and on what machine."""
    versions = ", ".join(f"{name} {number}" for name, number in report.machine.versions.items())
    say(str(report.machine))
    say(f"Python {report.machine.python}, {versions}")
    cut = f", {report.cut} cut to what the model reads" if report.cut else ""
    say(f"{report.model} as {report.runtime}; {counted(report.texts, 'text')}, {report.words}{cut}")
    times = {(ratio.peer, ratio.views): ratio.times for ratio in report.ratios}
    for views in sorted({speed.views for speed in report.speeds}):
        head = ("texts/s", "views/s", "tokens/s", "peak MiB", "batch", "inbedder is", "of peak")
        rows: list[tuple[str, ...]] = [(counted(views, "view"), *head)]
        for speed in (speed for speed in report.speeds if speed.views == views):
            ours = speed.contender == OURS
            row = (
                f"{speed.contender}, {speed.precision}",
                f"{speed.texts_per_second:,.1f}",
                f"{speed.views_per_second:,.1f}",
                f"{speed.tokens_per_second:,.0f}",
                _memory(speed),
                "" if speed.batch is None else f"{speed.batch}",
                "" if ours else f"{times[speed.contender, views]:.1f} x",
                f"{report.shares[views]:.0%}" if ours and views in report.shares else "",
            )
            rows.append(row)
            if speed.device_seconds is not None:
                alone = speed.device_seconds / speed.seconds
                rows.append((f"  the device alone takes {alone:.0%} of the time",))
        _print_rows(rows)
    say()
    if report.cosine is not None:
        say(
            f"cosine to float32: {report.cosine:.4f} on average, {report.least_cosine:.4f} at least"
        )
    if report.matrix_peak is not None:
        say(f"matrix peak of the device: {report.matrix_peak / 1e12:.3g} tera-operations a second")
    if (found := report.latency) is not None:
        say(
            f"one short query, 1 view: {found.warm_p50_ms:.1f} ms (p95 {found.warm_p95_ms:.1f}); "
            f"the first one {found.cold_p50_ms:.1f} ms (p95 {found.cold_p95_ms:.1f})"
        )
        say(
            f"start to first vector: {found.start_seconds:.2f} s "
            f"(import {found.import_seconds:.2f}, load {found.load_seconds:.2f})"
        )
    for what, why in report.missing.items():
        remark(f"left out: {what}: {why}")


def print_curve(curve: Curve) -> None:
    """Show how cost grew along each axis."""
    say(f"{curve.machine}; {curve.model} as {curve.runtime}")
    say(f"the model reads {curve.longest} word pieces of a text; longer ones are cut")
    for title, points in (
        ("more questions", curve.by_questions),
        ("longer texts", curve.by_length),
        ("more texts, streamed", curve.by_texts),
    ):
        rows = [(title, "pieces", "texts", "tokens", "seconds", "us/token", "peak MiB")]
        for point in points:
            row = (
                counted(point.questions, "question"),
                f"{point.pieces:,.0f}",
                f"{point.texts:,}",
                f"{point.tokens:,}",
                f"{point.seconds:.3f}",
                f"{point.microseconds_per_token:.1f}",
                f"{point.peak_mib:,.0f}",
            )
            rows.append(row)
        _print_rows(rows)


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Print an empty line and rows in columns as wide as they need, the first row as their head."""
    columns = max(map(len, rows))
    widths = [max(len(row[k]) for row in rows if len(row) > k) for k in range(columns)]
    say()
    for number, row in enumerate(rows):
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=False))
        line = "  ".join([row[0].ljust(len(first)), *rest]).rstrip()
        say((line, "bold" if number == 0 else ""))


def _memory(speed: Speed) -> str:
    if speed.peak_mib is None:
        return ""
    device = "" if speed.device_mib is None else f" + {speed.device_mib:,.0f} GPU"
    return f"{speed.peak_mib:,.0f}{device}"
