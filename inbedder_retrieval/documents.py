"""What is stored and what is found: documents and hits.

Both cross files and wires, so both are pydantic models and refuse what JSON cannot hold. This
module knows neither models nor storage.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

from inbedder_retrieval.errors import DocumentError

__all__ = ["AnswerWord", "Document", "Hit", "dates_as_text", "text_as_dates"]

# The key that notes are stored under beside metadata, and filtered by.
NOTES = "_notes"
# Where something stands in metadata: keys, and indexes in lists.
Place: TypeAlias = "Sequence[str | int]"

MAX_NESTING = 32
# Qdrant keeps integers in 64 bits; a larger one silently becomes a float.
MAX_INTEGER = 2**63 - 1


class AnswerWord(BaseModel):
    """One word a vector stands for. `weight` is its share of the answer head's softmax, 0 to 1."""

    model_config = ConfigDict(frozen=True)

    word: str
    weight: float


class Document(BaseModel):
    """A text with an id and metadata.

    An id is text: integers and UUIDs are written as text, so `7` and `"7"` are one document.
    Without an id the document is named by a hash of its text and metadata, so that the same
    document added twice is one document.

    Attributes:
        notes: what an adapter keeps of the document beside its metadata, such as a node's
            neighbours: JSON, found again with it, and filtered by under `_notes`.

    Raises:
        DocumentError: the text is no string; the id or metadata holds what JSON or Qdrant cannot
            keep (NaN, bytes, dates, integers beyond 64 bits, keys that are not text, characters
            that are not Unicode), or the metadata has the key `_notes`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    id: str = ""
    metadata: dict[str, Any] = Field(default_factory=dict)
    notes: dict[str, Any] = Field(default_factory=dict, repr=False)

    def __init__(
        self,
        text: str,
        id: object = None,
        metadata: dict[str, Any] | None = None,
        notes: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(text, str):
            raise DocumentError(
                f"a document's text is {type(text).__name__} {_short(text)}; it must be a string"
            )
        check_json(text, "a document's text")
        metadata = {} if metadata is None else metadata
        notes = {} if notes is None else notes
        for name, given in (("metadata", metadata), ("notes", notes)):
            if not isinstance(given, dict):
                raise DocumentError(
                    f"{name} is {type(given).__name__} {_short(given)}; it must be a dict"
                )
            check_json(given, name)
        if NOTES in metadata:
            raise DocumentError(
                f"metadata has the key {NOTES!r}, which is what notes are stored under; give the "
                "key another name"
            )
        super().__init__(
            text=text,
            id=content_id(text, metadata) if id is None else check_id(id),
            metadata=metadata,
            notes=notes,
        )

    @field_validator("metadata", "notes")
    @classmethod
    def _copied(cls, value: dict[str, Any]) -> dict[str, Any]:
        # A plain JSON copy: later changes to the caller's object do not reach the document.
        copied: dict[str, Any] = json.loads(json.dumps(value))
        return copied


class Hit(BaseModel):
    """A document found by a search.

    Attributes:
        score: cosine for one view, the weighted sum of cosines for several, or the sum of
            reciprocal ranks; higher is nearer.
        scores: the cosine under each searched view, by view name.
        answers: the answer words under each searched view, when the search asked to explain.
        group: the value of the field that the search was grouped by.
        notes: the document's.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    text: str
    metadata: dict[str, Any]
    score: float
    scores: dict[str, float]
    answers: dict[str, list[AnswerWord]] = Field(default_factory=dict)
    group: str | int | float | None = None
    notes: dict[str, Any] = Field(default_factory=dict, repr=False)


def dates_as_text(metadata: dict[str, Any]) -> tuple[dict[str, Any], list[list[str | int]]]:
    """Return metadata with its dates as ISO 8601 text, and where each of them stands.

    Documents keep dates as text; `text_as_dates` makes dates of them again. A time zone becomes
    its offset at that moment.
    """
    places: list[list[str | int]] = []
    return _without_dates(metadata, [], places), places


def text_as_dates(metadata: dict[str, Any], places: Iterable[Place]) -> dict[str, Any]:
    """Return a copy of metadata with dates where they stood; what is no date now is left."""
    whole: dict[str, Any] = json.loads(json.dumps(metadata))
    for *way, last in places:
        inner: Any = whole
        try:
            for key in way:
                inner = inner[key]
            text = inner[last]
            kind = date if len(text) == len("2026-01-31") else datetime
            inner[last] = kind.fromisoformat(text)
        except (LookupError, TypeError, ValueError):
            continue
    return whole


def check_id(value: object) -> str:
    """Return an id as the text it is stored as, or raise DocumentError."""
    if isinstance(value, bool) or not isinstance(value, (str, int, uuid.UUID)):
        raise DocumentError(
            f"a document's id is {type(value).__name__} {_short(value)}; "
            "it must be text, an integer or a UUID"
        )
    if isinstance(value, int):
        check_json(value, "a document's id")
    text = str(value)
    if not text.strip():
        raise DocumentError("a document's id is empty; give it some text, or leave the id out")
    check_json(text, "a document's id")
    return text


def content_id(text: str, metadata: dict[str, Any]) -> str:
    """Name a document by what it holds: 32 hexadecimal digits."""
    canonical = json.dumps([text, metadata], sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def lone_surrogate(text: str) -> str | None:
    """Return the first character that is half of a UTF-16 pair, or None.

    Such characters come from text cut in the middle of an emoji; UTF-8 cannot write them.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return text[error.start]
    return None


def check_json(value: object, path: str, depth: int = 0) -> None:
    """Raise DocumentError where `value` holds what JSON or Qdrant cannot keep exactly."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        if (half := lone_surrogate(value)) is not None:
            raise DocumentError(
                f"{path} holds the lone surrogate U+{ord(half):04X}, which is no character; "
                "repair the text where it was cut"
            )
    elif isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise DocumentError(f"{path} is an integer beyond 64 bits; store it as text")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise DocumentError(f"{path} is {value}; use a finite number, or None")
    elif depth > MAX_NESTING:
        raise DocumentError(f"{path} is nested more than {MAX_NESTING} levels deep; flatten it")
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise DocumentError(f"{path} has the key {key!r}; keys must be text")
            check_json(key, f"a key of {path}")
            check_json(inner, f"{path}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            check_json(inner, f"{path}[{index}]", depth + 1)
    else:
        raise DocumentError(
            f"{path} is {type(value).__name__} {_short(value)}; "
            "store text, numbers, booleans, None, lists or dicts (a date as ISO 8601 text)"
        )


def _without_dates(value: Any, place: list[str | int], places: list[list[str | int]]) -> Any:
    # Deeper than this is refused when a document is made of it.
    if len(place) <= MAX_NESTING + 1:
        if isinstance(value, dict):
            return {key: _without_dates(one, [*place, key], places) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [_without_dates(one, [*place, k], places) for k, one in enumerate(value)]
    # What is not equal to itself, as pandas' NaT, is no date.
    if not isinstance(value, date) or value != value:
        return value
    places.append(place)
    # Not the method of a subclass, which may write finer digits than are read.
    kind = datetime if isinstance(value, datetime) else date
    return kind.isoformat(value)


def _short(value: object) -> str:
    try:
        shown = repr(value)
    except ValueError:  # An integer of more digits than Python writes.
        shown = "of too many digits"
    return shown if len(shown) <= 60 else shown[:57] + "..."
