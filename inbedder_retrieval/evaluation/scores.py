"""Scores: what an evaluation found, as it is written to a file. All scores are percentages."""

from __future__ import annotations

from pydantic import BaseModel

from inbedder_retrieval.evaluation.rows import Kind

__all__ = [
    "Confusion",
    "EvalReport",
    "InstructionScore",
    "Robustness",
    "Score",
    "TaskRecord",
]


class TaskRecord(BaseModel):
    """A task: what it was made of, and what is wrong with rows that were passed over."""

    name: str
    kind: Kind
    metric: str
    source: str
    rows: int
    instructions: int
    bad: list[str]


class Score(BaseModel):
    """A contender's score on a task.

    Attributes:
        value: the task's score; the mean over seeds where there are several.
        spread: the standard deviation over seeds; None where nothing is drawn.
        single: the score of one fit, as InBedder's code reports.
        parts: the score of each aspect, or further metrics.
        across: for clustering of the same texts by several aspects: the score of the clusters of
            one aspect's question (first key) against the labels of another.
    """

    task: str
    contender: str
    value: float
    spread: float | None = None
    single: float | None = None
    parts: dict[str, float] = {}
    across: dict[str, dict[str, float]] = {}


class Confusion(BaseModel):
    """How the clusters of one fit lie across the labels.

    Attributes:
        counts: how many texts of each label (rows) each cluster holds (columns).
        words: the answer words of each cluster's mean, set against the mean of all texts; empty
            where the model's vectors cannot be read.
    """

    task: str
    aspect: str
    contender: str
    instruction: str | None
    labels: list[str]
    counts: list[list[int]]
    words: list[list[str]]


class InstructionScore(BaseModel):
    """The score under one instruction."""

    instruction: str
    value: float
    spread: float


class Robustness(BaseModel):
    """The scores under instructions that ask rightly, implicitly and wrongly.

    Attributes:
        correct_gap: the least of the correct ones less the most of the incorrect ones.
        implicit_gap: the least of the implicit ones less the most of the incorrect ones.
    """

    task: str
    aspect: str
    contender: str
    correct: list[InstructionScore]
    implicit: list[InstructionScore]
    incorrect: list[InstructionScore]
    correct_gap: float
    implicit_gap: float


class EvalReport(BaseModel):
    """What an evaluation found.

    Attributes:
        runtime: what the model ran on.
        versions: of the packages the figures depend on.
        clustering: how clusters were made, in words.
        contenders: in the order of the table; the model's own come first.
        awareness: by contender, the average of InstructSTSB, IntentEmotion and NYT, where all
            three were scored.
        missing: what was left out, and why.
    """

    model: str
    runtime: str
    versions: dict[str, str]
    clustering: str
    contenders: list[str]
    tasks: list[TaskRecord]
    scores: list[Score]
    awareness: dict[str, float] = {}
    confusions: list[Confusion] = []
    robustness: list[Robustness] = []
    missing: dict[str, str] = {}

    def score(self, task: str, contender: str) -> Score | None:
        """Return the score of a contender on a task, if it has one."""
        return next(
            (one for one in self.scores if (one.task, one.contender) == (task, contender)), None
        )
