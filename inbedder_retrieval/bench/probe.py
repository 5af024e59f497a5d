"""The probe: what has to be measured in a process of its own.

A process never gives its peak of memory back, and loads a library only once; so both are measured
in children: `run_job` starts one that embeds and says how long it took and what it held,
`start_up` one that does what a user's first lines do. Nothing is shared with them but a job on
their standard input and a result on their standard output.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, cast

from pydantic import BaseModel

from inbedder_retrieval.bench.machine import device_peak_mib, peak_mib
from inbedder_retrieval.bench.peers import PEERS
from inbedder_retrieval.bench.workload import drawn_texts
from inbedder_retrieval.checkpoint import find_checkpoint
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.errors import InbedderError, InputError
from inbedder_retrieval.views import Views

__all__ = ["Engine", "Job", "JobResult", "StartUp", "load_embedder", "run_job", "start_up"]

BACKENDS = ("onnx", "torch")
PRECISIONS = ("int8", "float32", "float16", "bfloat16")
# Where a turn takes longer than this, no further one is made.
LONGEST_TURNS = 5.0
WARM_UP_TEXTS = 64

# What a user's first lines do. Given as a string, so that the package is imported by it alone.
FIRST_LINES = """
import json, sys, time
job = json.load(sys.stdin)
begun = time.perf_counter()
from inbedder_retrieval import Embedder, Views
imported = time.perf_counter()
embedder = Embedder(job["model"], **job["engine"])
loaded = time.perf_counter()
views, queries = Views.of(job["view"]), job["queries"]
embedder.embed(queries[:1], views)
first = time.perf_counter()
print("first", flush=True)
warm = []
for query in queries[1:]:
    start = time.perf_counter()
    embedder.embed([query], views)
    warm.append(time.perf_counter() - start)
print(json.dumps([imported - begun, loaded - imported, first - loaded, warm]))
"""


class Engine(BaseModel):
    """What an `Embedder` is made with, besides its model; None leaves the choice to it."""

    backend: str | None = None
    precision: str | None = None
    device: str = "cpu"
    compiled: bool = False

    def given(self) -> dict[str, str | bool]:
        """Return what is not left to the embedder."""
        return self.model_dump(exclude_none=True)


class Job(BaseModel):
    """Texts to embed under views, in a process of its own.

    Attributes:
        contender: the name of a peer; None is this package.
        texts: what is embedded; or `drawn`, a number of texts, and the words of the shortest and
            the longest, to stream that many.
        batch: the peer's batch size.
        turns: how many times it is timed after a warm-up; 0 runs it once and times nothing.
    """

    model: str
    engine: Engine
    contender: str | None = None
    texts: list[str] = []
    drawn: tuple[int, int, int] | None = None
    views: dict[str, str | None]
    batch: int = 1
    turns: int = 0


class JobResult(BaseModel):
    """What a child measured.

    Attributes:
        peak_mib: the most memory its process held.
        device_mib: the most that torch held on the GPU.
    """

    seconds: list[float]
    peak_mib: float
    device_mib: float | None


@dataclass(frozen=True)
class StartUp:
    """The first lines of a program, in seconds.

    Attributes:
        imported, loaded, first: to import the package, to load the model, and to embed the first
            query after that.
        total: from the start of the process to its first vector, the interpreter included.
        warm: each further query.
    """

    imported: float
    loaded: float
    first: float
    total: float
    warm: list[float]


def load_embedder(model: str, engine: Engine) -> Embedder:
    """Load what a job says.

    Raises:
        InputError: there is no such backend or device, or it has no such precision.
    """
    for given, known in ((engine.backend, BACKENDS), (engine.precision, PRECISIONS)):
        if given is not None and given not in known:
            raise InputError(f"there is no {given!r} to run with; choose {' or '.join(known)}")
    backend = cast("Literal['onnx', 'torch'] | None", engine.backend)
    precision = cast("Literal['int8', 'float32', 'float16', 'bfloat16'] | None", engine.precision)
    return Embedder(
        model,
        backend=backend,
        precision=precision,
        device=engine.device,
        compiled=engine.compiled,
    )


def run_job(job: Job) -> JobResult:
    """Do a job in a child process.

    Raises:
        InbedderError: the child failed; its last words are in the message.
    """
    command = [sys.executable, "-m", "inbedder_retrieval.bench.probe"]
    done = subprocess.run(command, input=job.model_dump_json(), capture_output=True, text=True)
    return JobResult.model_validate_json(_said(done.returncode, done.stdout, done.stderr))


def start_up(model: str, engine: Engine, view: dict[str, str], queries: list[str]) -> StartUp:
    """Start a process that embeds queries one at a time, and measure it.

    Raises:
        InbedderError: the child failed; its last words are in the message.
    """
    job = {"model": model, "engine": engine.given(), "view": view, "queries": queries}
    begun = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", FIRST_LINES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        if child.stdin is None or child.stdout is None:
            raise InbedderError("a process to measure in could not be spoken to")
        child.stdin.write(json.dumps(job))
        child.stdin.close()
        child.stdout.readline()
        total = time.perf_counter() - begun
        rest = child.stdout.read()
        said = child.stderr.read() if child.stderr is not None else ""
    imported, loaded, first, warm = json.loads(_said(child.returncode, rest, said))
    return StartUp(imported, loaded, first, total, warm)


def _said(code: int, said: str, complaint: str) -> str:
    if code:
        last = complaint.strip().rpartition("\n")[2]
        raise InbedderError(f"a process that was started to measure in failed: {last}")
    return said.strip().rpartition("\n")[2]


def _do(job: Job) -> JobResult:
    views = Views.of(job.views)
    run, warm_up = _runs(job, views)
    seconds: list[float] = []
    if not job.turns:
        run()
    else:
        warm_up()
    while len(seconds) < job.turns and math.fsum(seconds) < LONGEST_TURNS:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return JobResult(
        seconds=seconds, peak_mib=peak_mib(), device_mib=device_peak_mib(job.engine.device)
    )


def _runs(job: Job, views: Views) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return what does a job once, and what does the first part of it."""
    if job.contender is not None:
        peer = next(peer for peer in PEERS if peer.name == job.contender)
        kind = job.engine.device.partition(":")[0]
        checkpoint = find_checkpoint(job.model)
        precision = job.engine.precision or peer.precision[kind]
        encode = peer.load(checkpoint, job.engine.device, precision)
        return (
            lambda: encode(job.texts, views, job.batch),
            lambda: encode(job.texts[: job.batch], views, job.batch),
        )
    embedder = load_embedder(job.model, job.engine)
    if job.drawn is None:
        return (
            lambda: embedder.embed(job.texts, views),
            lambda: embedder.embed(job.texts[:WARM_UP_TEXTS], views),
        )
    count, shortest, longest = job.drawn

    def stream(most: int) -> None:
        texts: Iterable[str] = drawn_texts(most, shortest, longest)
        for batch in embedder.embed_batches(texts, views):
            # Held no longer than until the next one.
            del batch

    return lambda: stream(count), lambda: stream(min(count, WARM_UP_TEXTS))


if __name__ == "__main__":
    sys.stdout.write(_do(Job.model_validate_json(sys.stdin.read())).model_dump_json() + "\n")
