"""Filters: a small expression over metadata, compiled for either Qdrant library.

Write a dict (`{"product": "headphones", "price": {"lt": 100}}`, all of which must hold) or combine
conditions: `Where.equals("product", "headphones") & ~Where.range("price", gte=100)`.

A field is a metadata key, or keys joined by dots that lead into nested objects. A key that itself
holds a dot is written in double quotes: `"a.b"`, `maker."first.name"`.

Numbers compare as numbers: 5 equals 5.0. Qdrant keeps one index a field and an integer index
does not see floats, so a number is asked for as a range of floats. It takes in the nearest floats
on either side, because Qdrant may read a number back from disk a digit off. Integers that a float
cannot hold are asked for as themselves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, TypeAlias

from inbedder_retrieval.collection.schema import METADATA
from inbedder_retrieval.documents import check_json
from inbedder_retrieval.errors import DocumentError

__all__ = ["Dialect", "FieldKind", "Where", "compile_where", "parse_where"]

Scalar: TypeAlias = "str | int | float | bool"
FieldKind: TypeAlias = Literal["keyword", "float", "bool"]
WhereLike: TypeAlias = "Where | Mapping[str, Any]"
BOUNDS = ("gt", "gte", "lt", "lte")
JOINED = {"all": "must", "any": "should", "none": "must_not"}
# The integers up to here are floats as well, each one its own.
EXACT_INTEGER = 2**53
# How far a number may be off once Qdrant has stored and read it.
FLOATS_APART = 2
# Qdrant's paths know no escapes: a key with a double quote or a backslash cannot be written.
_KEY = r'"[^"\\]+"|[^".\\]+'
_FIELD = re.compile(rf"(?:{_KEY})(?:\.(?:{_KEY}))*")


@dataclass(frozen=True)
class Dialect:
    """What differs between the two Qdrant libraries; all other names are alike.

    Attributes:
        library: `qdrant_client.models` or `qdrant_edge`.
        number_range: its class for a range of floats.
        boolean: makes what it takes for a boolean.
    """

    library: ModuleType
    number_range: Callable[..., Any]
    boolean: Callable[[bool], Any] = bool


@dataclass(frozen=True)
class Where:
    """A condition on one field, or several joined; make one with the class methods.

    Attributes:
        kind: `equals`, `range`, or how `parts` are joined: `all`, `any` or `none` of them.
        field: the metadata key; a dot goes into a nested object.

    Raises:
        DocumentError: it joins nothing.
    """

    kind: Literal["equals", "range", "all", "any", "none"]
    field: str = ""
    value: Scalar | None = None
    bounds: tuple[tuple[str, float], ...] = ()
    parts: tuple[Where, ...] = ()

    def __post_init__(self) -> None:
        # To Qdrant a join of nothing is no condition at all: it would match everything.
        if self.kind in JOINED and not self.parts:
            raise DocumentError(f"a filter joins {self.kind} of no conditions; give at least one")

    @classmethod
    def equals(cls, field: str, value: Scalar) -> Where:
        """Hold where the field is the value, or a list that contains it."""
        if not isinstance(value, (str, int, float)):
            raise DocumentError(
                f"the filter on {field!r} compares with {type(value).__name__}; "
                "compare with text, a number or a boolean"
            )
        check_json(value, f"the filter on {field!r}")
        if isinstance(value, (str, bool)) or (
            isinstance(value, int) and abs(value) > EXACT_INTEGER
        ):
            return cls("equals", _field(field), value)
        low, high = _around(value)
        return cls.range(field, gte=low, lte=high)

    @classmethod
    def any_of(cls, field: str, values: Sequence[Scalar]) -> Where:
        """Hold where the field is one of the values."""
        if isinstance(values, str) or not values:
            raise DocumentError(f"the filter on {field!r} needs a list of at least one value")
        return cls("any", parts=tuple(cls.equals(field, value) for value in values))

    @classmethod
    def range(
        cls,
        field: str,
        *,
        gt: float | None = None,
        gte: float | None = None,
        lt: float | None = None,
        lte: float | None = None,
    ) -> Where:
        """Hold where the field is a number within the bounds."""
        given = {"gt": gt, "gte": gte, "lt": lt, "lte": lte}
        for name, bound in given.items():
            if bound is None:
                continue
            if isinstance(bound, bool) or not isinstance(bound, (int, float)):
                raise DocumentError(f"the bound {name}={bound!r} on {field!r} must be a number")
            check_json(bound, f"the bound {name} on {field!r}")
        bounds = tuple((name, float(bound)) for name, bound in given.items() if bound is not None)
        if not bounds:
            raise DocumentError(f"the range on {field!r} has no bound; give one of {BOUNDS}")
        return cls("range", _field(field), bounds=bounds)

    def __and__(self, other: Where) -> Where:
        return self._join("all", other)

    def __or__(self, other: Where) -> Where:
        return self._join("any", other)

    def __invert__(self) -> Where:
        return Where("none", parts=(self,))

    def _join(self, kind: Literal["all", "any"], other: Where) -> Where:
        if not isinstance(other, Where):
            return NotImplemented
        # Joined side by side: a thousand conditions in a row must not nest a thousand deep.
        sides = (side.parts if side.kind == kind else (side,) for side in (self, other))
        return Where(kind, parts=tuple(part for side in sides for part in side))

    @property
    def path(self) -> str:
        """Where the field is stored, as Qdrant writes paths."""
        keys = (key.strip('"') for key in re.findall(_KEY, self.field))
        return ".".join([METADATA, *(key if _is_plain(key) else f'"{key}"' for key in keys)])

    def fields(self) -> Iterator[tuple[str, FieldKind]]:
        """Yield the stored path and the index kind of every field the filter looks at."""
        for part in self.parts:
            yield from part.fields()
        if self.kind == "range":
            yield self.path, "float"
        elif self.kind == "equals":
            yield self.path, _index_kind(self.value)


def parse_where(where: WhereLike) -> Where:
    """Make a Where of a dict: field to value, list of values, or bounds; all must hold.

    Raises:
        DocumentError: the dict is empty (an empty filter would match everything), or a value
            cannot be compared with.
    """
    if isinstance(where, Where):
        return where
    if not isinstance(where, Mapping) or not where:
        raise DocumentError(
            f"the filter is {where!r}; give a field and a value, such as "
            "{'product': 'headphones'}, or None for no filter"
        )
    parts = []
    for field, value in where.items():
        if isinstance(value, Mapping):
            if unknown := [name for name in value if name not in BOUNDS]:
                raise DocumentError(
                    f"the filter on {field!r} has {unknown[0]!r}; a bound is one of {BOUNDS}"
                )
            parts.append(Where.range(field, **value))
        elif isinstance(value, (list, tuple, set, frozenset)):
            parts.append(Where.any_of(field, list(value)))
        else:
            parts.append(Where.equals(field, value))
    return parts[0] if len(parts) == 1 else Where("all", parts=tuple(parts))


def compile_where(where: Where, dialect: Dialect) -> Any:
    """Return the filter as an object of the dialect's library."""
    library = dialect.library
    if where.kind in JOINED:
        parts = [compile_where(part, dialect) for part in where.parts]
        return library.Filter(**{JOINED[where.kind]: parts})
    if where.kind == "range":
        limits = dialect.number_range(**dict(where.bounds))
        return library.Filter(must=[library.FieldCondition(key=where.path, range=limits)])
    value = dialect.boolean(where.value) if isinstance(where.value, bool) else where.value
    match = library.MatchValue(value=value)
    return library.Filter(must=[library.FieldCondition(key=where.path, match=match)])


def _field(field: str) -> str:
    if not isinstance(field, str) or not field.strip():
        raise DocumentError(f"a filter names the field {field!r}; name a metadata key")
    check_json(field, "a filter's field")
    if not _FIELD.fullmatch(field):
        raise DocumentError(
            f"a filter names the field {field!r}; write keys joined by dots, and a key that holds "
            "a dot in double quotes (keys with a quote or a backslash cannot be filtered by)"
        )
    return field


def _is_plain(key: str) -> bool:
    """Whether Qdrant takes the key without quotes; so it also names it in the list of indexes."""
    return all(character.isalnum() or character in "_-" for character in key)


def _index_kind(value: Scalar | None) -> FieldKind:
    if isinstance(value, bool):
        return "bool"
    return "keyword" if isinstance(value, str) else "float"


def _around(number: float) -> tuple[float, float]:
    """Return the range of floats that stands for one number."""
    low = high = float(number)
    if low.is_integer() and abs(low) <= EXACT_INTEGER:
        return low, high
    for _ in range(FLOATS_APART):
        low, high = math.nextafter(low, -math.inf), math.nextafter(high, math.inf)
    return low, high
