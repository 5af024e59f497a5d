"""Contamination: training texts that are, or nearly are, texts of an evaluation set.

The rule. A text is taken as its words: NFKC, lower case, runs of letters and digits. Two texts are
the same where their words are. An evaluation text of four words or more is nearly the same as a
training text where at least 80 % of its different runs of four words stand in that training text;
so a passage that quotes an evaluation text whole counts, and a text that is quoted in part does
not. Shorter texts are compared as wholes only: two people may both say "thanks a lot".

Questions and labels are not compared: asking what others asked is no contamination.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inbedder_retrieval.errors import SourceError
from inbedder_retrieval.training.examples import example_rows

__all__ = ["NEAR", "RUN", "EvaluationTexts", "Match"]

RUN = 4
NEAR = 0.8
TEXTS = (
    *("text", "text1", "text2", "sentence1", "sentence2", "i", "context", "input", "passage"),
    *("sentence", "query", "anchor", "positive", "negative", "document"),
)
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Match:
    """A training text that is in an evaluation set.

    Attributes:
        text: its number among the training texts.
        where: the evaluation text's file and place.
        share: of the evaluation text's runs of words that it holds; 1.0 where both are the same.
        exact: whether all words are the same.
    """

    text: int
    where: str
    share: float
    exact: bool


class EvaluationTexts:
    """The texts of evaluation files, to hold training texts against.

    Args:
        paths: files whose rows are objects; every field in `TEXTS` that is a string is a text.

    Raises:
        SourceError: a file cannot be read, or no row of it has such a field.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self._where: list[str] = []
        self._runs: list[int] = []
        self._same: dict[tuple[str, ...], int] = {}
        self._holding: dict[tuple[str, ...], list[int]] = {}
        for path in map(Path, paths):
            self._add(path)

    def __len__(self) -> int:
        """How many different texts there are."""
        return len(self._where)

    def matches(self, texts: Iterable[str]) -> list[Match]:
        """Return the first match of every text that has one, in order."""
        found: list[Match] = []
        for number, text in enumerate(texts):
            words = _words(text)
            if (same := self._same.get(words)) is not None:
                found.append(Match(number, self._where[same], 1.0, True))
                continue
            held = Counter(one for run in _runs(words) for one in self._holding.get(run, ()))
            for one, count in held.items():
                if count >= NEAR * self._runs[one]:
                    share = count / self._runs[one]
                    found.append(Match(number, self._where[one], share, False))
                    break
        return found

    def _add(self, path: Path) -> None:
        found = False
        for place, row in example_rows(path):
            if isinstance(row, str):
                raise SourceError(f"{path}, {place} {row}; mend it, for its texts are held against")
            for name in TEXTS:
                if not isinstance(text := row.get(name), str):
                    continue
                found = True
                words = _words(text)
                if not words or words in self._same:
                    continue
                number = len(self._where)
                self._same[words] = number
                self._where.append(f"{path}, {place}")
                runs = _runs(words)
                self._runs.append(len(runs))
                for run in runs:
                    self._holding.setdefault(run, []).append(number)
        if not found:
            raise SourceError(f"{path} has no texts; wanted one of the fields {', '.join(TEXTS)}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).lower()))


def _runs(words: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Return the different runs of words."""
    return {words[k : k + RUN] for k in range(len(words) - RUN + 1)}
