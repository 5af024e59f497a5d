"""The cost curve: how time and memory grow with questions, text length and number of texts.

Each point is measured in a process of its own: it loads the model, warms up, and embeds; time is
the median of its turns, memory the most it held. Texts are no longer than the model reads, since a
longer one is cut and costs no more.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from pydantic import BaseModel, computed_field

from inbedder_retrieval.bench.machine import Machine, this_machine
from inbedder_retrieval.bench.probe import Engine, Job, load_embedder, run_job
from inbedder_retrieval.bench.workload import (
    drawn_texts,
    questions,
    room_for_text,
    texts_of_length,
    work_of,
)
from inbedder_retrieval.checkpoint import DEFAULT_MODEL, Checkpoint, find_checkpoint
from inbedder_retrieval.errors import InputError

__all__ = ["Curve", "Point", "measure_curve"]

QUESTIONS = (1, 2, 4, 8, 16, 32, 64)
LENGTHS = (16, 32, 64, 128, 256, 512)
COUNTS = (100, 1_000, 10_000, 100_000)
# Of the texts that are many, in words; and of those under many questions, in word pieces.
SHORT_WORDS = (5, 15)
PIECES = 64
TEXTS = 128
TURNS = 3


class Point(BaseModel):
    """What embedding some texts under some questions cost.

    Attributes:
        pieces: the length of every text, in word pieces; the mean where lengths differ.
        tokens: of texts and questions together, without padding.
        seconds: the median of the turns.
        peak_mib: the most memory the process held, the model included.
        device_mib: the most that torch held on the GPU.
    """

    questions: int
    pieces: float
    texts: int
    tokens: int
    seconds: float
    peak_mib: float
    device_mib: float | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def microseconds_per_token(self) -> float:
        return 1e6 * self.seconds / self.tokens


class Curve(BaseModel):
    """The points along three axes.

    Attributes:
        longest: how many word pieces of a text the model reads; lengths end there.
        by_questions: more and more questions of the same texts.
        by_length: longer and longer texts, under each of two numbers of questions.
        by_texts: more and more short texts under one question, streamed.
    """

    machine: Machine
    model: str
    runtime: str
    longest: int
    by_questions: list[Point]
    by_length: list[Point]
    by_texts: list[Point]


def measure_curve(
    model: str = DEFAULT_MODEL,
    *,
    engine: Engine | None = None,
    most_questions: int = QUESTIONS[-1],
    most_pieces: int = LENGTHS[-1],
    most_texts: int = COUNTS[-1],
    texts: int = TEXTS,
    turns: int = TURNS,
    progress: Callable[[str], None] | None = None,
) -> Curve:
    """Measure the cost curve; about five minutes on two cores.

    Args:
        most_questions, most_pieces, most_texts: where the axes end.
        texts: how many there are on the first two axes.
        turns: of each point; fewer where they take long.
        progress: called with what is about to be measured.

    Raises:
        InputError: what `Embedder` refuses, or an axis that ends below 1.
        InbedderError: a process failed.
    """
    if min(most_questions, most_pieces, most_texts, texts, turns) < 1:
        raise InputError("an axis of the cost curve ends below 1; give at least 1 of each")
    engine, say = engine or Engine(), progress or (lambda _: None)
    say(f"loading {model}")
    embedder = load_embedder(model, engine)
    runtime, name = str(embedder.runtime), embedder.name
    # Not to stand in the way of the processes that are measured.
    del embedder
    checkpoint = find_checkpoint(model)
    asked = _up_to(QUESTIONS, most_questions)
    longest = room_for_text(checkpoint, questions(max(asked)))
    lengths = _up_to(LENGTHS, min(most_pieces, longest))

    def point(count: int, pieces: int) -> Point:
        say(f"{texts} texts of {pieces} pieces, {count} questions")
        made = texts_of_length(checkpoint.tokenizer(), texts, pieces)
        return _point(checkpoint, engine, count, made, pieces, turns)

    def streamed(count: int) -> Point:
        say(f"{count:,} short texts")
        return _streamed(checkpoint, engine, count, turns)

    return Curve(
        machine=this_machine(engine.device),
        model=name,
        runtime=runtime,
        longest=longest,
        by_questions=[point(count, min(PIECES, longest)) for count in asked],
        by_length=[
            point(count, pieces)
            for count in _up_to((1, 8), min(8, most_questions))
            for pieces in lengths
        ],
        by_texts=[streamed(count) for count in _up_to(COUNTS, most_texts)],
    )


def _up_to(steps: Sequence[int], most: int) -> list[int]:
    """Return the steps below an end, and the end itself."""
    return [step for step in steps if step < most] + [most]


def _point(
    checkpoint: Checkpoint, engine: Engine, count: int, texts: list[str], pieces: int, turns: int
) -> Point:
    views = questions(count)
    job = Job(
        model=checkpoint.name,
        engine=engine,
        texts=texts,
        views={view.name: view.instruction for view in views},
        turns=turns,
    )
    done = run_job(job)
    return Point(
        questions=count,
        pieces=pieces,
        texts=len(texts),
        tokens=work_of(checkpoint, texts, views).tokens,
        seconds=statistics.median(done.seconds),
        peak_mib=done.peak_mib,
        device_mib=done.device_mib,
    )


def _streamed(checkpoint: Checkpoint, engine: Engine, count: int, turns: int) -> Point:
    views = questions(1)
    job = Job(
        model=checkpoint.name,
        engine=engine,
        drawn=(count, *SHORT_WORDS),
        views={view.name: view.instruction for view in views},
        turns=turns,
    )
    done = run_job(job)
    texts = list(drawn_texts(count, *SHORT_WORDS))
    encoded = checkpoint.tokenizer().encode_batch(texts, add_special_tokens=False)
    return Point(
        questions=1,
        pieces=statistics.fmean(len(one.ids) for one in encoded),
        texts=count,
        tokens=work_of(checkpoint, texts, views).tokens,
        seconds=statistics.median(done.seconds),
        peak_mib=done.peak_mib,
        device_mib=done.device_mib,
    )
