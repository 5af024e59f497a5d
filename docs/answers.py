"""Measure ways to search a view by an answer, and write the table in the packaged model's card.

    python docs/answers.py

Each label of the demo corpus, such as "refund", is asked for in the view of its question. A figure
is the mean average precision over the labels of a view, in percent, of all 375 messages ranked by
their cosine to the query; first under the demo's own question, then on average under the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.checkpoint import DEFAULT_MODEL, PACKAGED_MODELS, find_checkpoint
from inbedder_retrieval.demo import DEMO_VIEWS, LABELS, demo_documents
from inbedder_retrieval.documents import Document
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.views import GENERAL, View
from inbedder_retrieval.weights import Weights

START, STOP = "<!-- answers -->", "<!-- /answers -->"
CARD = PACKAGED_MODELS / DEFAULT_MODEL / "README.md"
CHOSEN = "its general vector"
OTHER_QUESTIONS = {
    "product": ("What product is this about?", "Product?", "What was bought?"),
    "feeling": ("What emotion is expressed?", "Feeling?", "What is the mood of the message?"),
    "need": ("What does the writer want?", "Need?", "What should the shop do?"),
}

Array = NDArray[np.float32]


class Ways:
    """Makes queries of answers in every way that is compared."""

    def __init__(self) -> None:
        checkpoint = find_checkpoint(DEFAULT_MODEL)
        self.embedder = Embedder()
        self._tokenizer = checkpoint.tokenizer()
        self._words = Weights(checkpoint).output_embeddings()

    def queries(self, answers: Sequence[str], question: str) -> dict[str, Array]:
        """Return unit vectors (N, H) of N answers to a question, by way."""
        general = self.embedder.embed(answers, GENERAL)["general"]
        words = unit(self._mean_words(answers, 0.0))
        text = self._texts(answers, question)
        return {
            CHOSEN: self.embedder.embed_answers(answers, View("view", question))["view"],
            "the mean of its words' rows in the head": words,
            "the same, less the mean of all rows": unit(
                self._mean_words(answers, self._words.mean(0))
            ),
            "as a text, under the question": text,
            "as a text, less the vector of no text": unit(text - self._texts([""], question)),
            "question and answer, as a text": self._texts(
                [f"{question} {answer}" for answer in answers], question
            ),
            "its general vector plus half its words'": unit(general + np.float32(0.5) * words),
        }

    def _texts(self, texts: Sequence[str], question: str) -> Array:
        return self.embedder.embed(texts, View("view", question))["view"]

    def _mean_words(self, answers: Sequence[str], less: Array | float) -> Array:
        encodings = self._tokenizer.encode_batch(list(answers), add_special_tokens=False)
        return np.stack([(self._words[encoding.ids] - less).mean(axis=0) for encoding in encodings])


def main(argv: list[str] | None = None) -> None:
    """Measure, and rewrite what stands between the markers."""
    parser = argparse.ArgumentParser(description="Compare ways to search by an answer.")
    parser.add_argument("--into", type=Path, default=CARD, metavar="FILE")
    page: Path = parser.parse_args(argv).into
    before, found, rest = page.read_text(encoding="utf-8").partition(START)
    _, closed, after = rest.partition(STOP)
    if not found or not closed:
        raise SystemExit(f"{page} has no {START} followed by {STOP}; put both where this belongs")
    page.write_text(
        f"{before}{START}\n{table(measured(demo_documents()))}\n{STOP}{after}", encoding="utf-8"
    )


def measured(documents: Sequence[Document]) -> dict[str, dict[str, list[float]]]:
    """Return the mean average precision of each way, label and question, the demo's own first."""
    ways = Ways()
    found: dict[str, dict[str, list[float]]] = {}
    for label in LABELS:
        held = np.array([document.metadata[label] for document in documents])
        answers = sorted(set(held))
        for question in (DEMO_VIEWS[label].instruction or "", *OTHER_QUESTIONS[label]):
            view = View("view", question)
            vectors = ways.embedder.embed([one.text for one in documents], view)["view"]
            for way, queries in ways.queries(answers, question).items():
                precisions = [
                    average_precision(vectors @ query, held == answer)
                    for query, answer in zip(queries, answers, strict=True)
                ]
                by_label = found.setdefault(way, {})
                by_label.setdefault(label, []).append(float(np.mean(precisions)))
    return found


def average_precision(scores: Array, relevant: NDArray[np.bool_]) -> float:
    """Return the mean, over relevant documents, of the share of such ones down to each."""
    ranks = np.flatnonzero(relevant[np.argsort(-scores, kind="stable")]) + 1
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def table(figures: dict[str, dict[str, list[float]]]) -> str:
    """Write the figures as a Markdown table, the way that is taken in bold."""
    lines = [f"| the query is the answer: | {' | '.join(LABELS)} |", f"|---{'|---' * 3}|"]
    for way, by_label in figures.items():
        cells = [
            f"{100 * own:.1f}, {100 * float(np.mean(others)):.1f}"
            for own, *others in (by_label[label] for label in LABELS)
        ]
        name = f"**{way}**" if way == CHOSEN else way
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def unit(vectors: Array) -> Array:
    """Scale vectors to length one."""
    scaled: Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


if __name__ == "__main__":
    main()
