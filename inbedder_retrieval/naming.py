"""Naming: groups of documents are named by the words their vectors stand for.

Two readings, as in InBedder (arXiv 2402.09642, section 5): what sets a group's mean apart from the
corpus's, decoded through the answer head; and the TF-IDF of the documents' own answer words. A view
without a question has no answer words; there the documents' own terms take their place.

Nothing here knows how the groups were made.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.documents import AnswerWord
from inbedder_retrieval.embeddings import TextEmbedder
from inbedder_retrieval.errors import MissingExtraError

__all__ = [
    "Words",
    "choose_names",
    "contrast_words",
    "document_words",
    "text_words",
    "typical_words",
]

Array: TypeAlias = NDArray[np.float32]
Words: TypeAlias = tuple[tuple[str, float], ...]

# How many vectors are read as words at a time.
BATCH = 2_000
# How many words of a mean are looked at; the head itself ranks no more than some 64 pieces.
CANDIDATES = 64
# How many words name a group.
NAME_WORDS = 3
# Words whose beginnings agree to this share of the shorter one are forms of one word.
SAME_WORD = 0.7
SAME_LETTERS = 4


def document_words(
    vectors: Array,
    embedder: TextEmbedder,
    *,
    top: int = 5,
    progress: Callable[[int], None] | None = None,
) -> list[Words]:
    """Read vectors (N, H) of a question's view as (word, weight) pairs, heaviest first.

    Raises:
        CheckpointError: the model's vectors cannot be read as words.
    """
    found: list[Words] = []
    for start in range(0, len(vectors), BATCH):
        for words in embedder.explain(vectors[start : start + BATCH], top=top):
            # The same few words come again and again: one string each.
            found.append(tuple((sys.intern(word.word), word.weight) for word in words))
        if progress is not None:
            progress(len(found))
    return found


def text_words(texts: Sequence[str], *, top: int = 10) -> list[Words]:
    """Return the terms that set each text apart from the others, by TF-IDF.

    A term that hardly any other text has says nothing of groups, and is left out.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise MissingExtraError("naming clusters", "cluster") from error
    least = 1 if len(texts) < 20 else max(2, len(texts) // 150)
    try:
        vectorizer = TfidfVectorizer(
            stop_words="english", token_pattern=r"[^\W\d_]{2,}", min_df=least
        )
        table = vectorizer.fit_transform(texts).tocsr()
    except ValueError:  # No text holds a term.
        return [() for _ in texts]
    terms = vectorizer.get_feature_names_out()
    found: list[Words] = []
    for row in range(len(texts)):
        columns = table.indices[table.indptr[row] : table.indptr[row + 1]]
        weights = table.data[table.indptr[row] : table.indptr[row + 1]]
        best = np.lexsort((columns, -weights))[:top]
        found.append(tuple((sys.intern(str(terms[columns[k]])), float(weights[k])) for k in best))
    return found


def contrast_words(
    means: Array, mean: Array, embedder: TextEmbedder, *, top: int = 5
) -> list[list[AnswerWord]]:
    """Read what sets means (K, H) of groups apart from the mean (H,) of all, as words.

    Words are ranked by p log(p / q), their part in the divergence of the group's answers from the
    corpus's; `weight` is p. Words that weigh no more than in the corpus are left out, unless none
    weighs more: then the group's heaviest words stand.
    """
    usual, *read = embedder.explain(np.vstack([mean[None], means]), top=CANDIDATES)
    shares = {word.word: word.weight for word in usual}
    # What the corpus's mean does not name weighs no more than the least it does.
    least = min(shares.values(), default=1e-6)
    found: list[list[AnswerWord]] = []
    for words in read:
        ranks = {
            word.word: word.weight * math.log(max(word.weight, 1e-12) / max(q, 1e-12))
            for word in words
            if word.weight > (q := shares.get(word.word, least))
        }
        ranked = sorted((w for w in words if w.word in ranks), key=lambda w: -ranks[w.word])
        found.append((ranked or words)[:top])
    return found


def typical_words(
    words: Sequence[Words], labels: NDArray[np.int64], groups: int, *, top: int = 5
) -> list[list[AnswerWord]]:
    """Return the words by which the documents of each group differ from the others', by TF-IDF.

    A group counts as one document: a word's part in the weight of all its words, times
    log(1 + mean weight of a group / weight of the word everywhere) (class-based TF-IDF,
    Grootendorst, arXiv 2203.05794). `weight` is the share of the group's sum.

    Args:
        words: the documents' own words.
        labels: the group (N,) of each document, 0 to `groups` - 1; others are noise.
    """
    columns: dict[str, int] = {}
    for pairs in words:
        for word, _ in pairs:
            columns.setdefault(word, len(columns))
    counts = np.zeros((groups, len(columns)))
    for label, pairs in zip(labels.tolist(), words, strict=True):
        if 0 <= label < groups:
            for word, weight in pairs:
                counts[label, columns[word]] += weight
    total = counts.sum(axis=0)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    scores = shares * np.log1p(total.sum() / max(groups, 1) / np.maximum(total, 1e-12))
    names = list(columns)
    found: list[list[AnswerWord]] = []
    for row in scores:
        best = sorted(np.flatnonzero(row).tolist(), key=lambda k: (-row[k], names[k]))[:top]
        whole = float(row.sum())
        found.append([AnswerWord(word=names[k], weight=float(row[k]) / whole) for k in best])
    return found


def choose_names(
    contrast: Sequence[Sequence[AnswerWord]], typical: Sequence[Sequence[AnswerWord]]
) -> list[str]:
    """Name each group by the words that rank high in both readings; no two names are alike.

    Forms of one word (`worried`, `worry`) are named once.
    """
    names: list[str] = []
    for first, second in zip(contrast, typical, strict=True):
        ranks: dict[str, float] = {}
        for words in (first, second):
            for rank, found in enumerate(words):
                ranks[found.word] = ranks.get(found.word, 0.0) + 1 / (rank + 1)
        chosen: list[str] = []
        # Of equal ranks, what comes first in the contrast: sorting keeps the order of insertion.
        for word in sorted(ranks, key=lambda word: -ranks[word]):
            if not any(_same_word(word, other) for other in chosen):
                chosen.append(word)
        names.append(_free(chosen, names))
    return names


def _free(words: list[str], taken: list[str]) -> str:
    """Return a name that is not taken: with more words, or else with a number."""
    for count in range(NAME_WORDS, len(words) + 1):
        if (name := ", ".join(words[:count])) not in taken:
            return name
    base = ", ".join(words[:NAME_WORDS]) or "no words"
    number, name = 1, base
    while name in taken:
        number += 1
        name = f"{base} ({number})"
    return name


def _same_word(one: str, other: str) -> bool:
    pairs = zip(one, other, strict=False)
    shared = next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
    return shared >= max(SAME_LETTERS, SAME_WORD * min(len(one), len(other)))
