"""Published sets: InBedder's own evaluation sets and STS-B, by name, from the Hugging Face hub.

Repositories, revisions and questions are those of InBedder's evaluation code (its mteb/tasks). They
are fetched with the library datasets, if it is installed, and kept in its cache. Each can be given
as a file instead, with the same rows: see `rows`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from inbedder_retrieval.errors import MissingExtraError, SourceError
from inbedder_retrieval.evaluation.rows import Kind, judged_rows
from inbedder_retrieval.evaluation.tasks import Task, make_task
from inbedder_retrieval.readers import Row

__all__ = ["AWARENESS", "PUBLISHED_SETS", "PublishedSet", "fetch_task"]


@dataclass(frozen=True)
class Part:
    """A configuration of a set: an aspect of its texts, and what is asked for it."""

    configuration: str | None = None
    aspect: str | None = None
    instruction: str | None = None


@dataclass(frozen=True)
class PublishedSet:
    """Where a set is on the hub, and what it becomes."""

    kind: Kind
    repository: str
    revision: str | None
    parts: tuple[Part, ...] = (Part(),)


# The three whose average is the paper's instruction awareness.
AWARENESS = ("instructstsb", "intentemotion", "nyt")

PUBLISHED_SETS = {
    "instructstsb": PublishedSet(
        "csts", "BrandonZYW/InstructSTSB", "34dda81eca082ba6b3a259899fe9ae435b6ea1ae"
    ),
    "intentemotion": PublishedSet(
        "triplets",
        "BrandonZYW/IntentEmotion",
        "d0101c15083166b77371cf542c4045decc0a6e92",
        (
            Part("emotion", "emotion", "How does the customer feel?"),
            Part("intent", "intent", "What does the customer need?"),
        ),
    ),
    "nyt": PublishedSet(
        "clustering",
        "BrandonZYW/NYTClustering",
        "462fb544c8993a0421fd969a7a0f19f1fbd975bf",
        (
            Part("topic", "topic", "What is the topic of news?"),
            Part("location", "location", "Where did the news happen?"),
        ),
    ),
    "ratemyprof": PublishedSet(
        "clustering",
        "BrandonZYW/RateMyProfClustering",
        "253b8501d191f7c3d3aff3bc27c6d7f7112589ba",
        (
            Part(
                instruction="Here is a student review on the course and the professor. "
                "Categorize the aspect the student is discussing about."
            ),
        ),
    ),
    "feedbacks": PublishedSet(
        "clustering",
        "BrandonZYW/FeedbacksClustering",
        "365ef3e171ad4dab887b08495b10940a1aecb04b",
        (
            Part(
                instruction="Here is a human feedback on machine-generated text. Categorize the "
                "type of reason why the human like or dislike it."
            ),
        ),
    ),
    "fewrel": PublishedSet(
        "clustering",
        "BrandonZYW/FewRelClustering",
        "d951bf6cb10522c042bf8db3a837028b7e69388f",
        (
            Part(
                instruction="Here is a sentence. Please tell me the relation type between two "
                "specified entities appended after the sentence."
            ),
        ),
    ),
    "stsb": PublishedSet("sts", "mteb/stsbenchmark-sts", None),
}


def fetch_task(name: str, *, skip_bad: bool = False) -> Task:
    """Fetch a published set, its test part, as a task.

    Raises:
        SourceError: there is no such set, the hub could not be reached, or its rows are not what
            they were.
        MissingExtraError: the library datasets is not installed.
    """
    if name not in PUBLISHED_SETS:
        raise SourceError(f"there is no published set {name!r}; choose {', '.join(PUBLISHED_SETS)}")
    published = PUBLISHED_SETS[name]
    try:
        datasets = import_module("datasets")
    except ImportError as error:
        raise MissingExtraError(f"fetching {name} from the hub", "mteb") from error
    found = [
        row
        for part in published.parts
        for row in judged_rows(
            _rows(datasets, name, published, part), published.kind, published.repository
        )
    ]
    return make_task(name, published.kind, found, published.repository, skip_bad=skip_bad)


def _rows(datasets: Any, name: str, published: PublishedSet, part: Part) -> Iterator[Row]:
    try:
        rows = datasets.load_dataset(
            published.repository,
            part.configuration,
            split="test",
            revision=published.revision,
        )
    except Exception as error:
        # It raises from several libraries; all of them mean that the set is not here.
        raise SourceError(
            f"{name} ({published.repository}) could not be fetched from the hub: {error}. Fetch it "
            f"where there is a connection, and give it as a file: --task {name}=FILE"
        ) from error
    given = {"aspect": part.aspect, "instruction": part.instruction}
    for number, row in enumerate(rows, 1):
        yield f"row {number}", {**row, **{key: to for key, to in given.items() if to is not None}}
