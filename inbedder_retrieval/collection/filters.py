"""Filters: a small expression over metadata, the same for every engine.

Write conditions with a field's operators, or as a dict whose entries must all hold:

    (Where.field("price") < 10) & Where.field("tags").contains("gift")
    {"price": {"lt": 10}, "tags": {"contains": "gift"}}

`&` and `|` bind tighter than `<` and `==`, so each comparison stands in parentheses. In a dict a
plain value is `eq` and a list is `in`. Operators are bare names, since no metadata key can stand
where they do; what stands beside metadata keys begins with a dollar sign: `$and` and `$or` with a
list of filters, `$not` with a filter, `$ids` with a list of ids.

A field is a metadata key, or keys joined by dots that lead into nested objects. A key that itself
holds a dot, or in a dict begins with a dollar sign, is written in double quotes: `"a.b"`.

What a condition means, on every engine:

- A list fits where any of its elements does, a field that is missing fits nothing, and `!=` and
  `~` hold exactly where the condition does not: also where the field is missing.
- Numbers compare as numbers: 5 equals 5.0, but neither True nor "5".
- Dates are stored as text, RFC 3339 or a plain date, and compare as moments; text without a zone
  is UTC, as is a `datetime` without one. A `date` is the whole day, in UTC. Moments are counted in
  whole microseconds.
- A text match finds the text anywhere in a stored text, exactly as it is written.

How they are asked for is in `conditions.py`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, TypeAlias

from inbedder_retrieval.collection.moments import moments_within
from inbedder_retrieval.collection.paths import check_field, stored_path
from inbedder_retrieval.documents import MAX_NESTING, check_id, check_json
from inbedder_retrieval.errors import DocumentError

__all__ = ["Field", "FieldKind", "Where", "WhereLike", "parse_where"]

FieldKind: TypeAlias = Literal["keyword", "float", "bool", "datetime", "tenant"]
WhereLike: TypeAlias = "Where | Mapping[str, Any]"
BOUNDS = ("gt", "gte", "lt", "lte")
JOINS = ("all", "any", "none")
# The integers up to here are floats as well, each one its own.
EXACT_INTEGER = 2**53
# How far a number may be off once Qdrant has stored and read it.
FLOATS_APART = 2


@dataclass(frozen=True)
class Where:
    """A condition, or several joined. Make one with `Where.field` or `Where.ids`.

    Conditions are joined with `&`, `|` and `~`; `and`, `or` and `not` raise, as does `a < x < b`.

    Attributes:
        kind: what is asked of the field or the id, or how `parts` are joined: `all`, `any` or
            `none` of them.
        key: the metadata field.
        value: what is looked for: a value, a text, or ids.
        bounds: `range` has numbers, `time` has moments in UTC: from `gte`, and before `lt`.

    Raises:
        DocumentError: it joins nothing, or is nested more than 32 deep.
    """

    kind: Literal["equals", "range", "time", "match", "exists", "null", "ids", "all", "any", "none"]
    key: str = ""
    value: str | int | bool | tuple[str, ...] | None = None
    bounds: tuple[tuple[str, float | datetime], ...] = ()
    parts: tuple[Where, ...] = ()
    depth: int = dataclasses.field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in JOINS:
            return
        # To Qdrant a join of nothing is no condition at all: it would match everything.
        if not self.parts:
            raise DocumentError(f"a filter joins {self.kind} of no conditions; give at least one")
        depth = 1 + max(part.depth for part in self.parts)
        object.__setattr__(self, "depth", depth)
        _check_depth(depth)

    @staticmethod
    def field(name: str) -> Field:
        """Name the metadata field that a condition is about."""
        return Field(name)

    @classmethod
    def ids(cls, ids: Iterable[object]) -> Where:
        """Hold where the document's id is one of these."""
        found = [check_id(one) for one in _several(ids, "the filter on ids")]
        return cls("ids", value=tuple(dict.fromkeys(found)))

    def __and__(self, other: Where) -> Where:
        return self._join("all", other)

    def __or__(self, other: Where) -> Where:
        return self._join("any", other)

    def __invert__(self) -> Where:
        if self.kind == "none" and len(self.parts) == 1:
            return self.parts[0]
        return Where("none", parts=(self,))

    def __bool__(self) -> bool:
        raise DocumentError(
            "a condition is neither true nor false by itself; join conditions with & | ~, each in "
            "parentheses, in place of and, or, not and a < x < b"
        )

    def _join(self, kind: Literal["all", "any"], other: Where) -> Where:
        if not isinstance(other, Where):
            return NotImplemented
        # Joined side by side: a thousand conditions in a row must not nest a thousand deep.
        sides = (side.parts if side.kind == kind else (side,) for side in (self, other))
        return Where(kind, parts=tuple(part for side in sides for part in side))

    @property
    def path(self) -> str:
        """Where the field is stored, as Qdrant writes paths."""
        return Field(self.key).path

    def fields(self) -> Iterator[tuple[str, FieldKind]]:
        """Yield the stored path of every field that an index helps with, and the index's kind.

        A field that is compared with numbers and with dates is left out: it has one index, and
        that of the one kind answers for the other, wrongly.
        """
        kinds: dict[str, set[FieldKind]] = {}
        for path, kind in self.compared():
            kinds.setdefault(path, set()).add(kind)
        for path, asked in kinds.items():
            if not asked >= {"float", "datetime"}:
                yield path, min(asked, key=("datetime", "float", "bool", "keyword").index)

    def compared(self) -> Iterator[tuple[str, FieldKind]]:
        """Yield the stored path and the index kind of every comparison with a value."""
        for part in self.parts:
            yield from part.compared()
        if self.kind == "range":
            yield self.path, "float"
        elif self.kind == "time":
            yield self.path, "datetime"
        elif self.kind == "equals":
            text, flag = isinstance(self.value, str), isinstance(self.value, bool)
            yield self.path, "keyword" if text else "bool" if flag else "float"


@dataclass(frozen=True, eq=False)
class Field:
    """A metadata field, whose operators and methods make conditions.

    Raises:
        DocumentError: the name is no path to a metadata key, or a value cannot be compared with.
    """

    name: str

    def __post_init__(self) -> None:
        check_field(self.name)

    @property
    def path(self) -> str:
        """Where the field is stored, as Qdrant writes paths."""
        return stored_path(self.name)

    def __eq__(self, value: object) -> Where:  # type: ignore[override]
        """Hold where the field is the text, number, boolean or date, or a list that holds it."""
        if isinstance(value, date):
            return self.within(gte=value, lte=value)
        if not isinstance(value, (str, int, float)):
            raise DocumentError(
                f"the filter on {self.name!r} compares with {type(value).__name__}; compare with "
                "text, a number, a boolean or a date (for null there is is_null, in a dict "
                "{'null': True})"
            )
        check_json(value, f"the filter on {self.name!r}")
        if isinstance(value, (str, bool)) or (
            isinstance(value, int) and abs(value) > EXACT_INTEGER
        ):
            return Where("equals", self.name, value)
        low, high = _around(value)
        return self.within(gte=low, lte=high)

    def __ne__(self, value: object) -> Where:  # type: ignore[override]
        """Hold where `==` does not, also where the field is missing."""
        return ~(self == value)

    def __lt__(self, bound: float | date) -> Where:
        return self.within(lt=bound)

    def __le__(self, bound: float | date) -> Where:
        return self.within(lte=bound)

    def __gt__(self, bound: float | date) -> Where:
        return self.within(gt=bound)

    def __ge__(self, bound: float | date) -> Where:
        return self.within(gte=bound)

    def __bool__(self) -> bool:
        raise DocumentError(f"the field {self.name!r} alone is no condition; compare it")

    def within(
        self,
        *,
        gt: float | date | None = None,
        gte: float | date | None = None,
        lt: float | date | None = None,
        lte: float | date | None = None,
    ) -> Where:
        """Hold where the field is a number, or a date, within all of the bounds.

        Of a list it is one element that is within all; `(f > 3) & (f < 5)` holds of [1, 9].
        """
        given = {"gt": gt, "gte": gte, "lt": lt, "lte": lte}
        bounds = {name: bound for name, bound in given.items() if bound is not None}
        if not bounds:
            raise DocumentError(f"the range on {self.name!r} has no bound; give one of {BOUNDS}")
        times = {name: bound for name, bound in bounds.items() if isinstance(bound, date)}
        if len(times) == len(bounds):
            return Where(
                "time", self.name, bounds=moments_within(times, f"the filter on {self.name!r}")
            )
        numbers: dict[str, float | datetime] = {}
        for name, bound in bounds.items():
            if isinstance(bound, bool) or not isinstance(bound, (int, float)):
                raise DocumentError(
                    f"the bound {name}={bound!r} on {self.name!r} must be a number, or all must "
                    "be dates"
                )
            check_json(bound, f"the bound {name} on {self.name!r}")
            numbers[name] = float(bound)
        return Where("range", self.name, bounds=tuple(numbers.items()))

    def is_in(self, values: Iterable[object]) -> Where:
        """Hold where the field is one of the values, or a list that holds one of them."""
        given = _several(values, f"the filter on {self.name!r}")
        return Where("any", parts=tuple(self == value for value in given))

    def contains(self, value: object) -> Where:
        """Hold where the field is a list that holds the value; the same condition as `==`."""
        return self == value

    def exists(self) -> Where:
        """Hold where the field has a value: it is neither missing nor null nor an empty list."""
        return Where("exists", self.name)

    def is_null(self) -> Where:
        """Hold where the field is null, or a list that holds null. One that is missing is not."""
        return Where("null", self.name)

    def matches(self, text: str) -> Where:
        """Hold where the field is a text that holds this text, or a list with such a text.

        It is a plain search for the characters: case counts, and parts of words are found.
        A server needs to be Qdrant 1.20 or newer.
        """
        if not isinstance(text, str) or not text:
            raise DocumentError(f"the text match on {self.name!r} is {text!r}; give some text")
        check_json(text, f"the filter on {self.name!r}")
        return Where("match", self.name, text)


def parse_where(where: WhereLike) -> Where:
    """Make a Where of a dict; all of its entries must hold.

    Raises:
        DocumentError: the dict is empty (an empty filter would match everything), or a value
            cannot be compared with.
    """
    return _parse(where, 0)


def _parse(where: object, depth: int) -> Where:
    if isinstance(where, Where):
        return where
    if not isinstance(where, Mapping) or not where:
        raise DocumentError(
            f"the filter is {where!r}; give a field and a value, such as "
            "{'product': 'headphones'}, or None for no filter"
        )
    _check_depth(depth)
    parts: list[Where] = []
    for name, value in where.items():
        if isinstance(name, str) and name.startswith("$"):
            parts.append(_parse_join(name, value, depth + 1))
        elif isinstance(value, Mapping):
            parts.extend(_parse_operators(Field(name), value))
        elif isinstance(value, (list, tuple, set, frozenset)):
            parts.append(Field(name).is_in(value))
        else:
            parts.append(Field(name) == value)
    return parts[0] if len(parts) == 1 else Where("all", parts=tuple(parts))


def _parse_join(name: str, value: Any, depth: int) -> Where:
    if name == "$ids":
        return Where.ids(value)
    if name == "$not":
        return ~_parse(value, depth)
    if name not in ("$and", "$or"):
        raise DocumentError(
            f"the filter has {name!r}; there are $and, $or, $not and $ids (a metadata key that "
            f"begins so is written in double quotes: '\"{name}\"')"
        )
    if not isinstance(value, (list, tuple)) or not value:
        raise DocumentError(f"{name} is {value!r}; give a list of at least one filter")
    kind: Literal["all", "any"] = "all" if name == "$and" else "any"
    return Where(kind, parts=tuple(_parse(one, depth) for one in value))


def _parse_operators(field: Field, given: Mapping[str, Any]) -> Iterator[Where]:
    bounds = {name: bound for name, bound in given.items() if name in BOUNDS}
    if bounds or not given:
        yield field.within(**bounds)
    for name, value in given.items():
        if name in BOUNDS:
            continue
        if name not in OPERATORS:
            raise DocumentError(
                f"the filter on {field.name!r} has {name!r}; "
                f"there are {', '.join([*BOUNDS, *OPERATORS])}"
            )
        yield OPERATORS[name](field, value)


def _unless(condition: Where, holds: object) -> Where:
    if not isinstance(holds, bool):
        raise DocumentError(
            f"the filter asks {condition.kind}: {holds!r} of {condition.key!r}; give True or False"
        )
    return condition if holds else ~condition


OPERATORS: dict[str, Callable[[Field, Any], Where]] = {
    "eq": Field.__eq__,
    "ne": Field.__ne__,
    "in": Field.is_in,
    "contains": Field.contains,
    "match": Field.matches,
    "exists": lambda field, holds: _unless(field.exists(), holds),
    "null": lambda field, holds: _unless(field.is_null(), holds),
}


def _several(values: object, name: str) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise DocumentError(f"{name} needs a list of at least one value, not {values!r}")
    found = list(values)
    if not found:
        raise DocumentError(f"{name} needs a list of at least one value")
    return found


def _check_depth(depth: int) -> None:
    # Qdrant Edge walks a filter by recursion and ends the process where it is too deep.
    if depth > MAX_NESTING:
        raise DocumentError(f"the filter is nested more than {MAX_NESTING} deep; make it flatter")


def _around(number: float) -> tuple[float, float]:
    """Return the range of floats that stands for one number."""
    low = high = float(number)
    if low.is_integer() and abs(low) <= EXACT_INTEGER:
        return low, high
    for _ in range(FLOATS_APART):
        low, high = math.nextafter(low, -math.inf), math.nextafter(high, math.inf)
    return low, high
