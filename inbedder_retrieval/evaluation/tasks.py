"""Tasks: judged rows of one kind, checked as a whole, and the demo corpus as one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from inbedder_retrieval.demo import DEMO_VIEWS, LABELS, demo_documents
from inbedder_retrieval.errors import InputError, SourceError
from inbedder_retrieval.evaluation.rows import Judged, Kind, read_rows

__all__ = ["Task", "demo_task", "make_task", "read_task", "sampled"]

SAMPLE_SEED = 0


@dataclass(frozen=True)
class Task:
    """Something to score models on.

    Attributes:
        source: the file or the published set that it comes from.
        bad: what is wrong with each row that was passed over.
    """

    name: str
    kind: Kind
    rows: list[Judged]
    source: str
    bad: list[str] = field(default_factory=list)

    @cached_property
    def aspects(self) -> dict[str, list[Judged]]:
        """The rows by aspect, in the order in which aspects first occur."""
        found: dict[str, list[Judged]] = {}
        for row in self.rows:
            found.setdefault(row.aspect, []).append(row)
        return found

    @property
    def asks(self) -> bool:
        """Whether a question is asked of any row."""
        return any(row.instruction is not None for row in self.rows)


def read_task(
    path: str | Path,
    kind: Kind,
    *,
    name: str | None = None,
    instruction: str | None = None,
    skip_bad: bool = False,
) -> Task:
    """Read a task from a file (see `rows` for its format).

    Args:
        name: what it is called; None takes the file's name up to its first dot.
        instruction: asked of the rows that bring none. Not for `sts`, which asks nothing.
        skip_bad: go on past broken rows, and keep what is wrong with them.

    Raises:
        SourceError: a row is broken and `skip_bad` is off, or nothing can be scored on the rest.
    """
    called = Path(path).name.split(".")[0] if name is None else name
    return make_task(
        called,
        kind,
        read_rows(path, kind),
        str(path),
        instruction=instruction,
        skip_bad=skip_bad,
    )


def make_task(
    name: str,
    kind: Kind,
    found: Iterable[Judged | str],
    source: str,
    *,
    instruction: str | None = None,
    skip_bad: bool = False,
) -> Task:
    """Make a task of rows that were read, as `read_task` does."""
    rows: list[Judged] = []
    bad: list[str] = []
    for row in found:
        if isinstance(row, str):
            bad.append(row)
        elif row.instruction is None and instruction is not None and kind != "sts":
            rows.append(replace(row, instruction=instruction))
        else:
            rows.append(row)
    if bad and not skip_bad:
        count = f"{len(bad)} row{'s' * (len(bad) > 1)} of {len(bad) + len(rows)}"
        raise SourceError(
            f"{bad[0]}. Mend it, or go on without broken rows (--skip-bad, skip_bad=True): {count}"
        )
    task = Task(name, kind, rows, source, bad)
    _check(task)
    return task


def demo_task() -> Task:
    """Return the demo corpus as a clustering task: product, feeling and need, in turn.

    375 messages that no model of this package was trained on; see `demo`.
    """
    documents = demo_documents()
    rows = [
        Judged((document.text,), DEMO_VIEWS[label].instruction, label, document.metadata[label])
        for label in LABELS
        for document in documents
    ]
    return Task("demo", "clustering", rows, "the demo corpus")


def sampled(task: Task, most: int) -> Task:
    """Draw `most` rows at random with a fixed seed, where there are more.

    Retrieval stays as it is, for it would become easier: its texts are what is searched.

    Raises:
        InputError: fewer than 2 rows were asked for.
        SourceError: nothing can be scored on those drawn.
    """
    if most < 2:
        raise InputError(f"a sample of {most} rows was asked for; draw 2 or more")
    if task.kind == "retrieval" or len(task.rows) <= most:
        return task
    drawn = np.random.default_rng(SAMPLE_SEED).choice(len(task.rows), most, replace=False)
    part = replace(task, rows=[task.rows[k] for k in drawn])
    _check(part)
    return part


def _check(task: Task) -> None:
    """Raise SourceError where no score can come of a task."""
    if not task.rows:
        raise SourceError(f"{task.source} holds no row to score on")
    for aspect, rows in task.aspects.items():
        where = f"{task.source}, aspect {aspect!r}" if aspect else task.source
        if task.kind == "clustering":
            labels = {row.label for row in rows}
            if not 1 < len(labels) < len(rows):
                raise SourceError(
                    f"{where} has {len(labels)} different labels for {len(rows)} texts; clusters "
                    "need two labels at least, and fewer labels than texts"
                )
        elif task.kind in ("csts", "sts") and len({row.score for row in rows}) < 2:
            raise SourceError(f"{where} has one score for all its pairs; an order needs two")
        elif task.kind == "retrieval" and not any(row.score > 0 for row in rows):
            raise SourceError(f"{where} has no query with a text to be found (score above 0)")
