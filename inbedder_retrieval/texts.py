"""Texts: what may be embedded, and how much of it a tokenizer is given at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from inbedder_retrieval.documents import lone_surrogate
from inbedder_retrieval.errors import TextError

__all__ = ["bounded_runs", "check_several", "check_texts"]

# The tokenizer keeps every piece of a text as a string: this bounds what it holds at a time.
TOKENIZER_CHARACTERS = 4_000_000


def check_several(texts: Iterable[str]) -> None:
    """Raise TextError where one string was given for many: its letters are not texts."""
    if isinstance(texts, (str, bytes)):
        raise TextError("one string was given for the texts; give a list of strings")


def check_texts(texts: Sequence[str], first: int) -> None:
    """Raise TextError where a text is no string of Unicode characters; counted from `first`."""
    for index, text in enumerate(texts, first):
        if not isinstance(text, str):
            raise TextError(f"text {index} is {type(text).__name__}; a text must be a string")
        if (half := lone_surrogate(text)) is not None:
            raise TextError(
                f"text {index} holds the lone surrogate U+{ord(half):04X}, which is no "
                "character; repair the text where it was cut"
            )


def bounded_runs(texts: Sequence[str]) -> Iterator[list[str]]:
    """Cut texts into runs that a tokenizer may hold at a time, one text at least."""
    run: list[str] = []
    characters = 0
    for text in texts:
        if run and characters + len(text) > TOKENIZER_CHARACTERS:
            yield run
            run, characters = [], 0
        run.append(text)
        characters += len(text)
    if run:
        yield run
