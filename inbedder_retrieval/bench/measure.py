"""The figures users can repeat: `inbedder bench`.

This package and its peers embed the same texts in one run, turn by turn, and what is given is the
median of several turns: on a shared machine only ratios within a run mean anything. Slow peers get
a part of the texts, every k-th by length, so views a second are what is compared. Memory and
start-up are measured in processes of their own (see `probe.py`).
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.backends import Options, Runtime
from inbedder_retrieval.bench.figures import OURS, BenchReport, Latency, Speed
from inbedder_retrieval.bench.machine import this_machine
from inbedder_retrieval.bench.matrix import matrix_peak
from inbedder_retrieval.bench.peers import PEERS, Encode, Peer
from inbedder_retrieval.bench.probe import Engine, Job, load_embedder, run_job, start_up
from inbedder_retrieval.bench.workload import drawn_texts, every, questions, readable, work_of
from inbedder_retrieval.checkpoint import DEFAULT_MODEL, Checkpoint, find_checkpoint
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.errors import InputError, MissingExtraError
from inbedder_retrieval.packing import Packer
from inbedder_retrieval.views import Views

__all__ = ["latency", "measure"]

PEAK = "matrix peak"
QUERIES = 200
COMPARED = 32
QUERY_WORDS = (3, 10)

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Entry:
    """A contender under so many views, ready to run."""

    speed: Speed
    run: Callable[[], object]
    job: Job


def measure(
    texts: Sequence[str],
    model: str = DEFAULT_MODEL,
    *,
    words: str = "",
    views: Sequence[int] = (1, 8),
    engine: Engine | None = None,
    repeats: int = 5,
    peers: Sequence[Peer] = PEERS,
    memory: bool = True,
    progress: Say | None = None,
) -> BenchReport:
    """Measure this package beside its peers.

    Args:
        words: of what lengths the texts are, in words, for the report.
        views: numbers of views to measure under, 1 to 64 each.
        engine: backend, device and precision of this package; peers run on the same device in the
            precision their users have by default.
        repeats: turns that count; one more comes first and is dropped.
        memory: whether to measure peak memory, in a process for each figure.
        progress: called with what is about to be measured.

    Raises:
        InputError: no texts, no turn, or what `Embedder` and `questions` refuse.
    """
    if repeats < 1:
        raise InputError(f"{repeats} repeats were asked for; there must be at least 1")
    if not texts:
        raise InputError("there is no text to measure with; give at least one")
    if not views:
        raise InputError("no number of views was given; give at least one, such as 8")
    engine, say = engine or Engine(), progress or (lambda _: None)
    numbers = sorted(set(views))
    asked = {number: questions(number) for number in numbers}
    say(f"loading {model}")
    embedder = load_embedder(model, engine)
    checkpoint = find_checkpoint(model)
    read, cut = readable(checkpoint, texts, asked[numbers[-1]])
    entries = [_ours(embedder, checkpoint, read, asked[number], engine) for number in numbers]
    missing: dict[str, str] = {}
    for peer in peers:
        say(f"loading {peer.name}, choosing its batch size")
        precision = peer.precision[_kind(engine.device)]
        try:
            encode = peer.load(checkpoint, engine.device, precision)
        except (MissingExtraError, OSError, ValueError) as error:
            # It has no way to run this kind of model, or transformers cannot read the folder.
            missing[peer.name] = " ".join(str(error).split())
            continue
        entries += [
            _theirs(peer, encode, checkpoint, read, asked[number], engine) for number in numbers
        ]
    _take_turns(entries, repeats, say)
    for entry in entries:
        if entry.speed.contender == OURS and embedder.runtime.device.startswith("cuda"):
            say(f"the device alone, {entry.speed.views} views")
            entry.speed.device_seconds = _device_seconds(
                checkpoint, read, asked[entry.speed.views], embedder.runtime
            )
    peak = _peak(embedder, missing, say)
    cosines = _cosines(embedder, model, read, asked[numbers[-1]], say)
    if memory:
        entries = [_weighed(entry, say) for entry in entries]
    return BenchReport(
        machine=this_machine(engine.device),
        model=embedder.name,
        runtime=str(embedder.runtime),
        texts=len(texts),
        words=words,
        cut=len(cut),
        repeats=repeats,
        matrix_peak=peak,
        cosine=None if cosines is None else float(cosines.mean()),
        least_cosine=None if cosines is None else float(cosines.min()),
        speeds=[entry.speed for entry in entries],
        missing=missing,
    )


def latency(
    model: str = DEFAULT_MODEL,
    *,
    engine: Engine | None = None,
    processes: int = 10,
    queries: int = QUERIES,
    progress: Say | None = None,
) -> Latency:
    """Measure start-up and single queries, in processes one after the other.

    Args:
        queries: different short queries, 3 to 10 words each, one at a time under one view.
        progress: called with what is about to be measured.

    Raises:
        InputError: no process or no query.
        InbedderError: a process failed.
    """
    if processes < 1 or queries < 1:
        raise InputError(
            f"{processes} processes of {queries} queries were asked for; both must be at least 1"
        )
    engine, say = engine or Engine(), progress or (lambda _: None)
    asked = list(drawn_texts(queries + 1, *QUERY_WORDS))
    view = {view.name: view.instruction or "" for view in questions(1)}
    starts = []
    for number in range(processes):
        say(f"starting up, process {number + 1} of {processes}")
        starts.append(start_up(model, engine, view, asked))
    cold = np.percentile([start.first for start in starts], [50, 95])
    warm = np.median([np.percentile(start.warm, [50, 95]) for start in starts], axis=0)
    return Latency(
        processes=processes,
        queries=queries,
        import_seconds=statistics.median(start.imported for start in starts),
        load_seconds=statistics.median(start.loaded for start in starts),
        start_seconds=statistics.median(start.total for start in starts),
        cold_p50_ms=1000 * float(cold[0]),
        cold_p95_ms=1000 * float(cold[1]),
        warm_p50_ms=1000 * float(warm[0]),
        warm_p95_ms=1000 * float(warm[1]),
    )


def _ours(
    embedder: Embedder, checkpoint: Checkpoint, texts: list[str], views: Views, engine: Engine
) -> _Entry:
    work = work_of(checkpoint, texts, views)
    speed = Speed(
        contender=OURS,
        precision=embedder.runtime.precision,
        views=len(views),
        texts=len(texts),
        turns=[],
        tokens=work.tokens,
        operations=work.operations,
    )
    job = Job(
        model=checkpoint.name,
        engine=engine,
        texts=texts,
        views={view.name: view.instruction for view in views},
    )
    return _Entry(speed, partial(embedder.embed, texts, views), job)


def _device_seconds(
    checkpoint: Checkpoint, texts: list[str], views: Views, runtime: Runtime
) -> float | None:
    """Return what the device takes for texts that are packed and sent beforehand."""
    if runtime.backend != "torch" or checkpoint.recipe.attention != "prefix":
        return None
    from inbedder_retrieval.backends.torch import TorchBackend

    packer = Packer(checkpoint.tokenizer(), checkpoint.recipe)
    packed = packer.batches(packer.tokenize(texts), packer.questions(views), runtime.token_budget)
    one = Options(device=runtime.device.split(",")[0], precision=runtime.precision)
    backend = TorchBackend(checkpoint, one)
    return backend.device_seconds(list(packed))


def _theirs(
    peer: Peer,
    encode: Encode,
    checkpoint: Checkpoint,
    texts: list[str],
    views: Views,
    engine: Engine,
) -> _Entry:
    kind = _kind(engine.device)
    part = every(texts, math.ceil(len(texts) * len(views) / peer.most[kind]))
    batch = _best_batch(encode, part, views, peer.batches[kind])
    tokenizer = checkpoint.tokenizer()
    speed = Speed(
        contender=peer.name,
        precision=peer.precision[kind],
        views=len(views),
        texts=len(part),
        batch=batch,
        turns=[],
        tokens=sum(
            len(tokenizer.encode(prompt).ids) for prompt in peer.prompts(checkpoint, part, views)
        ),
    )
    job = Job(
        model=checkpoint.name,
        engine=engine.model_copy(update={"backend": None, "precision": speed.precision}),
        contender=peer.name,
        texts=part,
        views={view.name: view.instruction for view in views},
        batch=batch,
    )
    return _Entry(speed, partial(encode, part, views, batch), job)


def _best_batch(encode: Encode, texts: list[str], views: Views, sizes: tuple[int, ...]) -> int:
    """Return the fastest batch size on these texts."""
    # What is touched for the first time is slow: memory that is new, a kernel that is not chosen.
    encode(texts, views, sizes[-1])
    seconds: dict[int, float] = {}
    for size in sizes:
        start = time.perf_counter()
        encode(texts, views, size)
        seconds[size] = time.perf_counter() - start
        if size >= len(texts) * len(views):
            # All larger ones are the same.
            break
    return min(seconds, key=lambda size: seconds[size])


def _take_turns(entries: Sequence[_Entry], repeats: int, say: Say) -> None:
    for turn in range(repeats + 1):
        for entry in entries:
            say(
                f"turn {turn + 1} of {repeats + 1}: {entry.speed.contender}, "
                f"{entry.speed.views} view{'s' * (entry.speed.views > 1)}"
            )
            start = time.perf_counter()
            entry.run()
            if turn:  # The first one warms caches, threads and clocks.
                entry.speed.turns.append(time.perf_counter() - start)


def _peak(embedder: Embedder, missing: dict[str, str], say: Say) -> float | None:
    say(f"measuring the {PEAK}")
    runtime = embedder.runtime
    try:
        peak = matrix_peak(runtime.device, runtime.precision, threads=runtime.threads)
    except MissingExtraError as error:
        missing[PEAK] = str(error)
        return None
    if peak is None:
        missing[PEAK] = f"nothing here multiplies {runtime.precision} on {runtime.device}"
    return peak


def _cosines(
    embedder: Embedder, model: str, texts: list[str], views: Views, say: Say
) -> NDArray[np.float32] | None:
    """Return the cosines (V, N) of some vectors to those of torch in float32 on the CPU."""
    say("comparing with float32")
    some = every(texts, math.ceil(len(texts) / COMPARED))
    try:
        exact = Embedder(model, backend="torch", precision="float32").embed(some, views)
    except MissingExtraError:
        return None
    found = embedder.embed(some, views)
    cosines: NDArray[np.float32] = np.stack(
        [(found[name] * exact[name]).sum(axis=-1) for name in views.names]
    )
    return cosines


def _weighed(entry: _Entry, say: Say) -> _Entry:
    say(f"memory of {entry.speed.contender}, {entry.speed.views} views")
    held = run_job(entry.job)
    update = {"peak_mib": held.peak_mib, "device_mib": held.device_mib}
    return _Entry(entry.speed.model_copy(update=update), entry.run, entry.job)


def _kind(device: str) -> str:
    return "cpu" if device == "cpu" else "cuda"
