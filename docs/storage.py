"""Write the tables of docs/storage.md from what `inbedder bench --storage --json FILE` wrote.

python docs/storage.py storage.json
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from inbedder_retrieval.bench.figures import OURS
from inbedder_retrieval.bench.storage import Searches, StorageReport

START, STOP = "<!-- storage -->", "<!-- /storage -->"
PAGE = Path(__file__).parent / "storage.md"


def main(argv: list[str] | None = None) -> None:
    """Read the file and rewrite what stands between the markers."""
    parser = argparse.ArgumentParser(description="Write the tables of storage.")
    parser.add_argument("report", type=Path, metavar="FILE")
    parser.add_argument("--into", type=Path, default=PAGE, metavar="FILE")
    given = parser.parse_args(argv)
    report = StorageReport.model_validate_json(given.report.read_text(encoding="utf-8"))
    before, found, rest = given.into.read_text(encoding="utf-8").partition(START)
    _, closed, after = rest.partition(STOP)
    if not found or not closed:
        raise SystemExit(
            f"{given.into} has no {START} followed by {STOP}; put both where this belongs"
        )
    given.into.write_text(f"{before}{START}\n{tables(report)}\n{STOP}{after}", encoding="utf-8")


def tables(report: StorageReport) -> str:
    """Write what was measured as Markdown tables."""
    versions = ", ".join(f"{name} {number}" for name, number in report.machine.versions.items())
    ours = report.ours(report.documents)
    lines = [
        f"{report.machine}; given vectors of {report.dimension} numbers, up to {report.queries} "
        f"queries of each kind. Python {report.machine.python}, {versions}.",
        *_table(
            ("store", "engine", "documents", "views", "documents/s", "vectors/s", "open, s"),
            [
                (
                    _name(store.store),
                    store.engine,
                    f"{store.documents:,}",
                    f"{store.vectors}",
                    f"{store.documents_per_second:,.0f}",
                    f"{store.vectors_per_second:,.0f}",
                    "" if store.open_seconds is None else f"{store.open_seconds:.2f}",
                )
                for store in report.stores
            ],
        ),
        *_table(
            ("search", "documents", "p50, ms", "p95, ms", "recall at 10"),
            [
                (
                    f"{_name(store.store)}: {_searched(one)}",
                    f"{store.documents:,}",
                    f"{one.p50_ms:.2f}",
                    f"{one.p95_ms:.2f}",
                    f"{one.recall:.3f}",
                )
                for store in report.stores
                for one in store.searches
            ],
        ),
        *_table(
            ("this package is", "documents", "adding", "searching", "with a filter", "opening"),
            [
                (
                    f"as fast as {ratio.store}",
                    f"{ratio.documents:,}",
                    *(
                        "" if times is None else f"{times:.2f} x"
                        for times in (ratio.add, ratio.search, ratio.filtered, ratio.opened)
                    ),
                )
                for ratio in report.ratios
            ],
        ),
        "",
    ]
    for stage, times in ours.filtered_times.items():
        lines.append(f"- A filter on an indexed field, {stage}: {times:.2f} x the time without.")
    for stage, times in ours.three_views_times.items():
        lines.append(f"- Three views with weights, {stage}: {times:.2f} x the time of one.")
    if ours.optimize_seconds is not None:
        lines.append(f"- `optimize`: {ours.optimize_seconds:.0f} s.")
    if (filled := report.backfill) is not None:
        lines.append(
            f"- A view added to {filled.documents:,} documents: {filled.ratio:.2f} x the time of "
            f"embedding them for it ({filled.model})."
        )
    lines += [f"- Left out: {what}: {why}." for what, why in report.missing.items()]
    return "\n".join(lines)


def _name(store: str) -> str:
    return "this package" if store == OURS else store


def _searched(one: Searches) -> str:
    first = ", the first one" if one.first else ""
    return f"{one.kind}{first}" + ("" if one.stage == "added" else f", {one.stage}")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return ["", lines[0], "|" + "---|" * len(head), *lines[1:]]


if __name__ == "__main__":
    main()
