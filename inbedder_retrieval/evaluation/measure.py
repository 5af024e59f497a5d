"""Measure: every contender scored on every task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata

import numpy as np

from inbedder_retrieval.errors import InbedderError, InputError, MissingExtraError
from inbedder_retrieval.evaluation.clusters import (
    Protocol,
    Spread,
    cluster,
    confusion,
    spread_of,
)
from inbedder_retrieval.evaluation.contenders import Contender, Questions, Vectors
from inbedder_retrieval.evaluation.published import AWARENESS
from inbedder_retrieval.evaluation.robustness import Instructions, measure_robustness
from inbedder_retrieval.evaluation.rows import Judged, Kind
from inbedder_retrieval.evaluation.scores import (
    Confusion,
    EvalReport,
    Robustness,
    Score,
    TaskRecord,
)
from inbedder_retrieval.evaluation.tasks import Task
from inbedder_retrieval.metrics import (
    average_precision,
    harmonic_mean,
    ndcg,
    recall,
    reciprocal_rank,
    spearman,
    success_rate,
)

__all__ = ["METRICS", "evaluate", "score_task"]

METRICS: dict[Kind, str] = {
    "clustering": "V-measure",
    "triplets": "success rate",
    "csts": "Spearman of cosine",
    "sts": "Spearman of cosine",
    "retrieval": "nDCG@10",
}
DEPTH = 10
# Queries whose cosines with all texts are held at once.
QUERIES = 256
PACKAGES = ("inbedder-retrieval", "numpy", "scikit-learn", "onnxruntime", "torch", "transformers")


def evaluate(
    model: str,
    runtime: str,
    contenders: Sequence[Contender],
    tasks: Sequence[Task],
    *,
    protocol: Protocol | None = None,
    instructions: Mapping[str, Instructions] | None = None,
    progress: Callable[[str], None] | None = None,
) -> EvalReport:
    """Score contenders on tasks.

    What a contender cannot do, such as a general view it has not, is left out and said in
    `missing`. A task that asks nothing is scored once for each model.

    Args:
        contenders: those of `model` come first, and their clusters are shown.
        instructions: lists for robustness by the name of a task, or `task.aspect`; clustering
            tasks that have one are scored under each of its instructions too.
        progress: called with what is being done.

    Raises:
        InputError: no task, or two of one name.
        MissingExtraError: a clustering task without scikit-learn.
    """
    names = [task.name for task in tasks]
    if not tasks or len(set(names)) < len(names):
        raise InputError(
            f"the tasks are named {', '.join(names) or 'nothing'}; give one at least, and each a "
            "name of its own"
        )
    protocol = protocol or Protocol()
    scores: list[Score] = []
    confusions: list[Confusion] = []
    robust: list[Robustness] = []
    missing: dict[str, str] = {}
    for task in tasks:
        for contender in _entered(task, contenders):
            if progress is not None:
                progress(f"{task.name}: {contender.name}")
            entry = f"{task.name}, {contender.name}"
            try:
                score, found = score_task(task, contender, protocol)
                scores.append(score)
                if contender.name == contenders[0].name:
                    confusions += found
                if contender.asks and task.kind == "clustering":
                    entry += ", robustness"
                    robust += measure_robustness(task, contender, instructions or {}, protocol)
            except MissingExtraError:
                raise
            except InbedderError as error:
                missing[entry] = str(error)
    return EvalReport(
        model=model,
        runtime=runtime,
        versions=_versions(),
        clustering=str(protocol),
        contenders=[contender.name for contender in contenders],
        tasks=[_record(task) for task in tasks],
        scores=scores,
        awareness=_awareness(scores, contenders),
        confusions=confusions,
        robustness=robust,
        missing=missing,
    )


def score_task(
    task: Task, contender: Contender, protocol: Protocol
) -> tuple[Score, list[Confusion]]:
    """Score a contender on a task; clustering also tells how clusters lie across labels."""
    if task.kind == "clustering":
        return _clustering(task, contender, protocol)
    if task.kind == "triplets":
        return _triplets(task, contender), []
    if task.kind == "retrieval":
        return _retrieval(task, contender), []
    first, second = _columns(contender, task.rows)
    cosines = np.sum(first.astype(np.float64) * second, axis=1)
    correlation = spearman(cosines, [row.score for row in task.rows])
    return Score(task=task.name, contender=contender.name, value=100 * correlation), []


def _clustering(
    task: Task, contender: Contender, protocol: Protocol
) -> tuple[Score, list[Confusion]]:
    spreads: dict[str, Spread] = {}
    across: dict[str, dict[str, float]] = {}
    found: list[Confusion] = []
    # Asked all at once: a text under several questions is read once.
    vectors = contender.ask(*_asked(task.rows, 0))
    place = {id(row): number for number, row in enumerate(task.rows)}
    texts = {aspect: [row.texts[0] for row in rows] for aspect, rows in task.aspects.items()}
    for aspect, rows in task.aspects.items():
        own = vectors[[place[id(row)] for row in rows]]
        labels = [row.label for row in rows]
        fits = cluster(own, len(set(labels)), protocol)
        spreads[aspect] = spread_of(labels, fits)
        across[aspect] = {
            other: 100 * spread_of([row.label for row in task.aspects[other]], fits).mean
            for other in task.aspects
            if texts[other] == texts[aspect]
        }
        picture = confusion(task.name, aspect, contender, rows[0].instruction, labels, own, fits[0])
        if contender.asks and picture is not None:
            found.append(picture)
    whole = Spread(tuple(harmonic_mean(values) for values in zip(*_values(spreads), strict=True)))
    score = Score(
        task=task.name,
        contender=contender.name,
        value=100 * whole.mean,
        spread=100 * whole.deviation,
        single=100 * whole.values[0],
        parts={aspect: 100 * spread.mean for aspect, spread in spreads.items() if aspect},
        across=across if len(across) > 1 else {},
    )
    return score, found


def _values(spreads: Mapping[str, Spread]) -> Iterator[tuple[float, ...]]:
    return (spread.values for spread in spreads.values())


def _triplets(task: Task, contender: Contender) -> Score:
    rates = {
        aspect: success_rate(*_columns(contender, rows)) for aspect, rows in task.aspects.items()
    }
    return Score(
        task=task.name,
        contender=contender.name,
        value=100 * harmonic_mean(list(rates.values())),
        parts={aspect: 100 * rate for aspect, rate in rates.items() if aspect},
    )


def _retrieval(task: Task, contender: Contender) -> Score:
    """Rank all texts of the task for each query that has one to be found.

    A query under another instruction is another query, for which all texts are asked likewise.
    """
    texts = list(dict.fromkeys(row.texts[0] for row in task.rows))
    number = {text: place for place, text in enumerate(texts)}
    results: list[tuple[float, ...]] = []
    for instruction in dict.fromkeys(row.instruction for row in task.rows):
        judged: dict[str, dict[int, float]] = {}
        for row in task.rows:
            if row.instruction == instruction and len(row.texts) == 2 and row.score > 0:
                judged.setdefault(row.texts[1], {})[number[row.texts[0]]] = row.score
        queries = list(judged)
        if not queries:
            continue
        corpus = contender.ask(texts, [instruction] * len(texts))
        asked = contender.ask(queries, [instruction] * len(queries))
        for start in range(0, len(queries), QUERIES):
            cosines = asked[start : start + QUERIES] @ corpus.T
            for query, row_of in zip(queries[start : start + QUERIES], cosines, strict=True):
                order = np.argsort(-row_of, kind="stable")
                gains = np.array([judged[query].get(int(place), 0.0) for place in order])
                every = list(judged[query].values())
                results.append(
                    (
                        ndcg(gains, every, DEPTH),
                        average_precision(gains > 0, len(every)),
                        recall(gains > 0, len(every), DEPTH),
                        reciprocal_rank(gains > 0),
                    )
                )
    means = 100 * np.mean(results, axis=0)
    return Score(
        task=task.name,
        contender=contender.name,
        value=float(means[0]),
        parts={
            "MAP": float(means[1]),
            f"recall@{DEPTH}": float(means[2]),
            "MRR": float(means[3]),
        },
    )


def _columns(contender: Contender, rows: Sequence[Judged]) -> list[Vectors]:
    """Ask for each of the texts of rows: arrays (N, H), one for each column."""
    return [contender.ask(*_asked(rows, column)) for column in range(len(rows[0].texts))]


def _asked(rows: Sequence[Judged], column: int) -> tuple[list[str], Questions]:
    return [row.texts[column] for row in rows], [row.instruction for row in rows]


def _entered(task: Task, contenders: Sequence[Contender]) -> list[Contender]:
    """Return who is scored: where nothing is asked, one contender for each model."""
    if task.asks:
        return list(contenders)
    first: dict[str, Contender] = {}
    for contender in sorted(contenders, key=lambda one: one.asks):
        first.setdefault(contender.model, contender)
    return [contender for contender in contenders if contender in first.values()]


def _record(task: Task) -> TaskRecord:
    return TaskRecord(
        name=task.name,
        kind=task.kind,
        metric=METRICS[task.kind],
        source=task.source,
        rows=len(task.rows),
        instructions=len({row.instruction for row in task.rows if row.instruction is not None}),
        bad=task.bad,
    )


def _awareness(scores: Sequence[Score], contenders: Sequence[Contender]) -> dict[str, float]:
    found = {(score.task, score.contender): score.value for score in scores}
    return {
        contender.name: float(np.mean([found[name, contender.name] for name in AWARENESS]))
        for contender in contenders
        if all((name, contender.name) in found for name in AWARENESS)
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
