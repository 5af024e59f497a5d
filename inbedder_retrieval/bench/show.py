"""What was measured, for people to read in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from inbedder_retrieval.bench.curve import Curve
from inbedder_retrieval.bench.figures import OURS, BenchReport, Speed
from inbedder_retrieval.bench.storage import Searches, StorageReport
from inbedder_retrieval.console import counted, remark, say

__all__ = ["print_bench", "print_curve", "print_storage"]


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


def print_storage(report: StorageReport) -> None:
    """Show how fast documents were stored and found, beside other stores."""
    versions = ", ".join(f"{name} {number}" for name, number in report.machine.versions.items())
    say(str(report.machine))
    say(f"Python {report.machine.python}, {versions}")
    say(
        f"given vectors of {report.dimension} numbers; up to {report.queries} queries of each "
        "kind, medians and 95th percentiles"
    )
    if any(store.documents < report.documents for store in report.stores):
        say(
            "what would take longer than a minute for all documents was measured on a tenth of them"
        )
    rows: list[tuple[str, ...]] = [("store", "documents", "views", "docs/s", "vectors/s", "open s")]
    for store in report.stores:
        row = (
            f"{store.store}, {store.engine}",
            f"{store.documents:,}",
            f"{store.vectors}",
            f"{store.documents_per_second:,.0f}",
            f"{store.vectors_per_second:,.0f}",
            "" if store.open_seconds is None else f"{store.open_seconds:.2f}",
        )
        rows.append(row)
    _print_rows(rows)
    rows = [("search", "documents", "p50 ms", "p95 ms", "recall@10")]
    for store in report.stores:
        for one in store.searches:
            named = f"{store.store}: {_search_name(one)}"
            figures = (f"{one.p50_ms:.2f}", f"{one.p95_ms:.2f}", f"{one.recall:.3f}")
            rows.append((named, f"{store.documents:,}", *figures))
    _print_rows(rows)
    if report.ratios:
        rows = [("inbedder is", "documents", "adding", "searching", "with filter", "opening")]
        for ratio in report.ratios:
            parts = (ratio.add, ratio.search, ratio.filtered, ratio.opened)
            shown = ("" if part is None else f"{part:.1f} x" for part in parts)
            rows.append((f"as fast as {ratio.store}", f"{ratio.documents:,}", *shown))
        _print_rows(rows)
    say()
    ours = report.ours(report.documents)
    for stage, longer in ours.filtered_times.items():
        say(f"a filter on an indexed field, {stage}: {longer:.2f} x the time without")
    for stage, longer in ours.three_views_times.items():
        say(f"three views with weights, {stage}: {longer:.2f} x the time of one")
    if ours.optimize_seconds is not None:
        say(f"optimize: {ours.optimize_seconds:.1f} s")
    if (found := report.backfill) is not None:
        say(
            f"adding a view to {counted(found.documents, 'document')} takes {found.ratio:.2f} x "
            f"the time of embedding them for it ({found.model})"
        )
        if found.p50_ms is not None and found.p95_ms is not None:
            say(
                f"meanwhile {found.answers:,} answers from another view in "
                f"{found.searched_seconds:.1f} s: {found.p50_ms:.1f} ms (p95 {found.p95_ms:.1f})"
            )
    for what, why in report.missing.items():
        remark(f"left out: {what}: {why}")


def _search_name(searches: Searches) -> str:
    first = ", the first one" if searches.first else ""
    stage = "" if searches.stage == "added" else f", {searches.stage}"
    return f"{searches.kind}{first}{stage}"


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
