"""Robustness: how scores depend on how the question is put.

InBedder (arXiv 2402.09642, section on robustness) clusters each set under 10 instructions that ask
for the labels in other words (correct), 10 that only hint at them (implicit), and 10 that ask for
something else (incorrect). A model that follows instructions scores high under the first, lower
under the last; two gaps say so: the least correct score less the most incorrect one, and the least
implicit score less the most incorrect one. The lists for the sets named in `data/robustness.json`
were written for this project.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from inbedder_retrieval.errors import SourceError
from inbedder_retrieval.evaluation.clusters import Protocol, cluster, spread_of
from inbedder_retrieval.evaluation.contenders import Contender
from inbedder_retrieval.evaluation.rows import Judged
from inbedder_retrieval.evaluation.scores import InstructionScore, Robustness
from inbedder_retrieval.evaluation.tasks import Task

__all__ = ["MANNERS", "Instructions", "load_instructions", "measure_robustness"]

MANNERS = ("correct", "implicit", "incorrect")


@dataclass(frozen=True)
class Instructions:
    """Instructions for one set, by manner: `correct`, `implicit` and `incorrect`.

    Attributes:
        pattern: where each text has an instruction of its own, a regular expression that it
            matches as a whole; `{name}` in a list is what the group of that name matched.
    """

    correct: tuple[str, ...]
    implicit: tuple[str, ...]
    incorrect: tuple[str, ...]
    pattern: str | None = None


def load_instructions(path: Path | None = None) -> dict[str, Instructions]:
    """Read instruction lists by the name of a task, or `task.aspect`; None takes the package's.

    The file is a JSON object of objects: `{"task": {"correct": [...], "implicit": [...],
    "incorrect": [...], "pattern": "..."}}`; the pattern may be left out.

    Raises:
        SourceError: the file cannot be read, or is not that.
    """
    if path is None:
        text = files("inbedder_retrieval").joinpath("data/robustness.json").read_text("utf-8")
        return _parsed(json.loads(text), "data/robustness.json")
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(f"the instructions in {path} cannot be read: {error}") from error
    return _parsed(found, str(path))


def measure_robustness(
    task: Task, contender: Contender, lists: Mapping[str, Instructions], protocol: Protocol
) -> list[Robustness]:
    """Score a clustering task under every instruction of its lists; each aspect has its own.

    Raises:
        SourceError: a row's instruction does not match the list's pattern.
    """
    found: list[Robustness] = []
    for aspect, rows in task.aspects.items():
        listed = lists.get(f"{task.name}.{aspect}" if aspect else task.name)
        if listed is not None:
            found.append(_aspect(task.name, aspect, rows, contender, listed, protocol))
    return found


def _aspect(
    task: str,
    aspect: str,
    rows: Sequence[Judged],
    contender: Contender,
    listed: Instructions,
    protocol: Protocol,
) -> Robustness:
    every = [*listed.correct, *listed.implicit, *listed.incorrect]
    asked = [_filled(every, row, listed.pattern) for row in rows]
    texts = [row.texts[0] for row in rows for _ in every]
    vectors = contender.ask(texts, [question for questions in asked for question in questions])
    labels = [row.label for row in rows]
    scores: list[InstructionScore] = []
    for number, instruction in enumerate(every):
        fits = cluster(vectors[number :: len(every)], len(set(labels)), protocol)
        spread = spread_of(labels, fits)
        scores.append(
            InstructionScore(
                instruction=instruction, value=100 * spread.mean, spread=100 * spread.deviation
            )
        )
    first, second = len(listed.correct), len(listed.correct) + len(listed.implicit)
    correct, implicit, incorrect = scores[:first], scores[first:second], scores[second:]
    most = max(score.value for score in incorrect)
    return Robustness(
        task=task,
        aspect=aspect,
        contender=contender.name,
        correct=correct,
        implicit=implicit,
        incorrect=incorrect,
        correct_gap=min(score.value for score in correct) - most,
        implicit_gap=min(score.value for score in implicit) - most,
    )


def _filled(every: Sequence[str], row: Judged, pattern: str | None) -> list[str]:
    if pattern is None:
        return list(every)
    match = re.fullmatch(pattern, row.instruction or "")
    if match is None:
        raise SourceError(
            f"the instruction {row.instruction!r} does not match {pattern!r}, which the lists for "
            "robustness take their words from"
        )
    filled = []
    for instruction in every:
        for name, words in match.groupdict(default="").items():
            instruction = instruction.replace("{" + name + "}", words)
        filled.append(instruction)
    return filled


def _parsed(found: Any, source: str) -> dict[str, Instructions]:
    if not isinstance(found, dict) or not found:
        raise SourceError(f"{source} holds no lists by the name of a task")
    return {str(name): _lists(lists, f"{source}, {name!r}") for name, lists in found.items()}


def _lists(found: Any, where: str) -> Instructions:
    if not isinstance(found, dict):
        raise SourceError(f"{where} is no object with {', '.join(MANNERS)}")
    lists: dict[str, tuple[str, ...]] = {}
    for manner in MANNERS:
        listed = found.get(manner)
        if (
            not isinstance(listed, list)
            or not listed
            or not all(isinstance(one, str) and one.strip() for one in listed)
        ):
            raise SourceError(f"{where}: {manner!r} must be a list of instructions")
        lists[manner] = tuple(listed)
    pattern = found.get("pattern")
    try:
        re.compile(pattern or "")
    except (re.error, TypeError) as error:
        raise SourceError(f"{where}: the pattern {pattern!r} is none: {error}") from error
    return Instructions(pattern=pattern, **lists)
