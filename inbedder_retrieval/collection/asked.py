"""What is asked of a search: its options, checked before anything is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from inbedder_retrieval.collection.filters import Where, WhereLike, parse_where
from inbedder_retrieval.collection.paths import check_field
from inbedder_retrieval.collection.query import Query
from inbedder_retrieval.documents import check_id
from inbedder_retrieval.errors import InputError

__all__ = ["Fusion", "Search"]

Fusion: TypeAlias = Literal["sum", "ranks"]
MAX_LIMIT = 10_000
# How many answer words `explain=True` reads.
SOME_WORDS = 3


@dataclass(frozen=True)
class Search:
    """The options of `ViewCollection.search`, which says what each means.

    Raises:
        InputError: a number is out of range, or two options do not go together.
        DocumentError: an id or the filter is unusable.
    """

    query: str | None = None
    answer: str | Mapping[str, str] | None = None
    vector: ArrayLike | Mapping[str, ArrayLike] | None = None
    like: Iterable[object] = ()
    unlike: Iterable[object] = ()
    view: str | None = None
    views: Mapping[str, float] | None = None
    fusion: Fusion = "sum"
    limit: int = 10
    offset: int = 0
    filter: WhereLike | None = None
    threshold: float | None = None
    diversity: float | None = None
    group_by: str | None = None
    group_size: int = 1
    candidates: int | None = None
    exact: bool = False
    explain: int | bool = 0
    allow_partial: bool = False

    def __post_init__(self) -> None:
        _check_whole("limit", self.limit, 1)
        _check_whole("offset", self.offset, 0)
        _check_whole("group_size", self.group_size, 1)
        if not isinstance(self.explain, bool):
            _check_whole("explain", self.explain, 0)
        if self.candidates is not None:
            _check_whole("candidates", self.candidates, 1)
        if self.reach > MAX_LIMIT:
            raise InputError(
                f"offset {self.offset} and limit {self.limit} reach beyond {MAX_LIMIT} hits; "
                "narrow the search with a filter"
            )
        if self.group_by is not None:
            check_field(self.group_by)
        if self.fusion not in ("sum", "ranks"):
            raise InputError(f"the fusion is {self.fusion!r}; choose 'sum' or 'ranks'")
        _check_number("threshold", self.threshold)
        _check_number("diversity", self.diversity)
        if self.diversity is not None:
            if not 0 <= self.diversity <= 1:
                raise InputError(f"the diversity is {self.diversity!r}; give a number from 0 to 1")
            if self.fusion == "ranks" or self.group_by is not None:
                raise InputError(
                    "diversity needs cosines, and neither ranks nor groups; leave one of them out"
                )
        # Both are checked when they are made.
        _ = self.wanted, self.where

    @cached_property
    def wanted(self) -> Query:
        """What is looked for."""
        like, unlike = _ids("like", self.like), _ids("unlike", self.unlike)
        return Query(self.query, self.answer, self.vector, like, unlike)

    @cached_property
    def where(self) -> Where | None:
        """What a hit must fit."""
        return None if self.filter is None else parse_where(self.filter)

    @property
    def reach(self) -> int:
        """How many hits, or groups, counted from the best, the answer may need."""
        return self.offset + self.limit

    @property
    def words(self) -> int:
        """How many answer words are read from each vector."""
        return SOME_WORDS * self.explain if isinstance(self.explain, bool) else self.explain


def _ids(name: str, ids: Iterable[object]) -> tuple[str, ...]:
    if isinstance(ids, (str, bytes)):
        raise InputError(f"{name} is {ids!r}; give a list of ids, such as ['7', '8']")
    return tuple(check_id(one) for one in ids)


def _check_number(name: str, number: object) -> None:
    if number is None:
        return
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not np.isfinite(number):
        raise InputError(f"the {name} is {number!r}; give a number")


def _check_whole(name: str, number: object, least: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= MAX_LIMIT:
        raise InputError(
            f"the {name} is {number!r}; give a whole number from {least} to {MAX_LIMIT}"
        )
