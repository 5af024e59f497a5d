"""Report: what a training was given, did and measured, as it is written and shown."""

from __future__ import annotations

from pydantic import BaseModel

from inbedder_retrieval.training.config import TrainConfig
from inbedder_retrieval.training.data import FileCounts, Prepared
from inbedder_retrieval.training.plan import Plan

__all__ = ["REPORT_FILE", "ExportFigures", "TrainReport"]

REPORT_FILE = "training.json"


class ExportFigures(BaseModel):
    """What export's gates measured, or why they refused; see `export.ExportReport`."""

    difference: float | None = None
    mean_cosine: float | None = None
    min_cosine: float | None = None
    bytes: int | None = None
    refused: str | None = None


class TrainReport(BaseModel):
    """What a training was given, did and measured.

    Attributes:
        planned, steps: how many steps there are, and how many are done.
        epochs: how often the data are shown.
        files: what each file gave.
        bad, contaminated: broken rows, and texts that are in an evaluation set: left out.
        texts, pairs: what is trained on.
        held_out: texts that are not.
        cut: texts, questions and answers that were longer than the model reads.
        dropped: pairs that cannot be asked or answered in this vocabulary.
        before, after: the loss on the texts held out, and its parts.
        first, last: the mean loss of the first and last twentieth of the steps.
        seconds: of all steps.
        finished: whether the model is written.
    """

    name: str
    kind: str
    base: str
    planned: int
    steps: int = 0
    epochs: float
    files: list[FileCounts]
    bad: list[str]
    contaminated: list[str]
    texts: int
    pairs: int
    held_out: int
    cut: tuple[int, int, int]
    dropped: int
    processes: int = 1
    device: str = "cpu"
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    first: float | None = None
    last: float | None = None
    seconds: float = 0.0
    export: ExportFigures | None = None
    finished: bool = False

    @classmethod
    def begun(
        cls,
        name: str,
        config: TrainConfig,
        prepared: Prepared,
        plan: Plan,
        cut: tuple[int, int, int],
        dropped: int,
    ) -> TrainReport:
        """Make the report of a training that is planned."""
        return cls(
            name=name,
            kind=config.kind,
            base=config.base,
            planned=plan.steps,
            epochs=round(plan.epochs, 3),
            files=prepared.files,
            bad=prepared.bad,
            contaminated=prepared.contaminated,
            texts=len(prepared.examples),
            pairs=sum(len(one.pairs) for one in prepared.examples),
            held_out=len(prepared.held_out),
            cut=cut,
            dropped=dropped,
        )
