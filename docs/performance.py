"""Write the README's performance table from what `inbedder bench --json FILE` wrote.

    python docs/performance.py cpu.json gpu.json

A file for each machine, in the order in which they are shown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from inbedder_retrieval.bench.figures import OURS, BenchReport

START, STOP = "<!-- performance -->", "<!-- /performance -->"
README = Path(__file__).parent.parent / "README.md"
HEAD = (
    "| | views | texts/s | views/s | tokens/s | peak MiB | this package is | of matrix peak |",
    "|---|---|---|---|---|---|---|---|",
)
NAMES = {OURS: "this package"}


def main(argv: list[str] | None = None) -> None:
    """Read the files and rewrite what stands between the markers."""
    parser = argparse.ArgumentParser(description="Write the README's performance table.")
    parser.add_argument("reports", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--into", type=Path, default=README, metavar="FILE")
    given = parser.parse_args(argv)
    parts = [
        section(BenchReport.model_validate_json(path.read_text(encoding="utf-8")))
        for path in given.reports
    ]
    text = given.into.read_text(encoding="utf-8")
    given.into.write_text(between(text, START, STOP, "\n".join(parts)), encoding="utf-8")


def between(text: str, start: str, stop: str, new: str) -> str:
    """Return the text with what stands between two markers replaced."""
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(stop)
    if not found or not closed:
        raise SystemExit(f"the file has no {start} followed by {stop}; put both where this belongs")
    return f"{before}{start}\n{new.strip()}\n{stop}{after}"


def section(report: BenchReport) -> str:
    """Write one machine's paragraph, table and latency."""
    versions = ", ".join(f"{name} {number}" for name, number in report.machine.versions.items())
    lines = [
        "",
        f"{report.machine}; {report.model} as {report.runtime}; {report.texts} texts of "
        f"{report.words}; medians of {report.repeats} turns. Python {report.machine.python}, "
        f"{versions}.",
        "",
        *HEAD,
    ]
    times = {(ratio.peer, ratio.views): ratio.times for ratio in report.ratios}
    for speed in sorted(report.speeds, key=lambda speed: speed.views):
        ratio = times.get((speed.contender, speed.views))
        share = report.shares.get(speed.views) if speed.contender == OURS else None
        memory = "" if speed.peak_mib is None else f"{speed.peak_mib:,.0f}"
        if speed.device_mib is not None:
            memory += f" + {speed.device_mib:,.0f} on the GPU"
        batch = "" if speed.batch is None else f", batches of {speed.batch}"
        cells = [
            f"{NAMES.get(speed.contender, speed.contender)}, {speed.precision}{batch}",
            f"{speed.views}",
            f"{speed.texts_per_second:,.{int(speed.texts_per_second < 10)}f}",
            f"{speed.views_per_second:,.0f}",
            f"{speed.tokens_per_second:,.0f}",
            memory,
            "" if ratio is None else f"{ratio:.1f} x as fast",
            "" if share is None else f"{share:.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if report.cosine is not None:
        lines += [
            "",
            f"Cosine of its vectors to float32: {report.cosine:.4f} on average, "
            f"{report.least_cosine:.4f} at least.",
        ]
    for speed in report.speeds:
        if speed.device_seconds is not None:
            alone = speed.device_seconds / speed.seconds
            lines += ["", f"{speed.views} views: the device alone takes {alone:.0%} of the time."]
    if (found := report.latency) is not None:
        lines += [
            "",
            f"One short query under one view: {found.warm_p50_ms:.1f} ms (p95 "
            f"{found.warm_p95_ms:.1f}); a program's first one {found.cold_p50_ms:.1f} ms (p95 "
            f"{found.cold_p95_ms:.1f}). From the start of a program to its first vector: "
            f"{found.start_seconds:.2f} s.",
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
