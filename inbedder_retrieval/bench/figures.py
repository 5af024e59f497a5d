"""The figures of a benchmark: what was measured, and what follows from it.

Data only, written and read as JSON: what is derived (seconds, rates, ratios) is in the file too.
This module measures nothing; `measure.py` does.
"""

from __future__ import annotations

import statistics

from pydantic import BaseModel, computed_field

from inbedder_retrieval.bench.machine import Machine

__all__ = ["OURS", "BenchReport", "Latency", "Ratio", "Speed"]

OURS = "inbedder"


class Speed(BaseModel):
    """How fast one contender was under so many views.

    Attributes:
        texts: how many it embedded in a turn.
        batch: the batch size that was its fastest; None where there is no such choice.
        turns: the seconds of each turn; their median is what counts.
        tokens: that it ran in a turn and that are not padding, the questions' included.
        operations: that the model takes for them (see `workload.Work`); this package only.
        peak_mib: the most memory a process held that loads it and runs one turn.
        device_mib: the same on the GPU, as torch counts it.
        device_seconds: what the device alone takes for a turn, with all batches sent to it
            beforehand; on CUDA only.
    """

    contender: str
    precision: str
    views: int
    texts: int
    batch: int | None = None
    turns: list[float]
    tokens: int
    operations: int | None = None
    peak_mib: float | None = None
    device_mib: float | None = None
    device_seconds: float | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def seconds(self) -> float:
        return statistics.median(self.turns)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def texts_per_second(self) -> float:
        return self.texts / self.seconds

    @computed_field  # type: ignore[prop-decorator]
    @property
    def views_per_second(self) -> float:
        return self.texts * self.views / self.seconds

    @computed_field  # type: ignore[prop-decorator]
    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


class Ratio(BaseModel):
    """How many times a peer's views a second this package's are, under so many views."""

    peer: str
    views: int
    times: float


class Latency(BaseModel):
    """One short query under one view, and how long a program takes to its first vector.

    Attributes:
        processes: how many were started, one after the other.
        queries: how many were embedded in each, one at a time, after the first.
        import_seconds, load_seconds: to import the package and to load the model; medians.
        start_seconds: from the start of a process to its first vector; the median.
        cold_p50_ms, cold_p95_ms: the first query of a process, over the processes.
        warm_p50_ms, warm_p95_ms: the others; medians over the processes.
    """

    processes: int
    queries: int
    import_seconds: float
    load_seconds: float
    start_seconds: float
    cold_p50_ms: float
    cold_p95_ms: float
    warm_p50_ms: float
    warm_p95_ms: float


class BenchReport(BaseModel):
    """What one run measured.

    Attributes:
        runtime: what this package ran on, in words.
        texts: how many there were; `words` says of what lengths, `cut` how many were longer than
            the model reads and were cut for all contenders.
        matrix_peak: operations a second of large matrix products on this device in the precision
            that this package ran in; None where it could not be measured.
        cosine, least_cosine: how near this package's vectors are to float32 ones of torch, on
            average and at least, over some of the texts; None without torch.
        missing: what was left out, and why.
    """

    machine: Machine
    model: str
    runtime: str
    texts: int
    words: str
    cut: int
    repeats: int
    matrix_peak: float | None
    cosine: float | None = None
    least_cosine: float | None = None
    speeds: list[Speed]
    latency: Latency | None = None
    missing: dict[str, str] = {}

    def ours(self, views: int) -> Speed:
        """Return this package's speed under so many views."""
        return next(s for s in self.speeds if s.contender == OURS and s.views == views)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratios(self) -> list[Ratio]:
        """Views a second of this package divided by a peer's, for each peer and number of views."""
        return [
            Ratio(
                peer=speed.contender,
                views=speed.views,
                times=self.ours(speed.views).views_per_second / speed.views_per_second,
            )
            for speed in self.speeds
            if speed.contender != OURS
        ]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def shares(self) -> dict[int, float]:
        """The share of the matrix peak this package reached, by number of views.

        The model's operations a second divided by the peak: what is spent on tokenizing, padding
        and everything that is no product counts against it.
        """
        return {
            speed.views: speed.operations / speed.seconds / self.matrix_peak
            for speed in self.speeds
            if speed.contender == OURS and speed.operations and self.matrix_peak
        }
