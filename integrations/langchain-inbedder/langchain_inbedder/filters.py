"""Filters: the library's, and the dollar-sign form that LangChain users write elsewhere.

    Where.field("price") < 10
    {"price": {"lt": 10}, "tags": {"contains": "gift"}}
    {"$and": [{"price": {"$lt": 10}}, {"tags": {"$in": ["gift"]}}]}

Field names are metadata keys, without a prefix. What conditions mean is written in
`inbedder_retrieval.collection.filters`: above all, `$ne`, `$nin` and `$not` hold where the field
is missing, and an empty filter is refused, because it would fit everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import and_, or_
from typing import Any, TypeAlias

from inbedder_retrieval import DocumentError, Where

__all__ = ["Filter", "where_of"]

Filter: TypeAlias = "Where | Mapping[str, Any]"
MAX_DEPTH = 32
BOUNDS = {"$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}


def where_of(filter: Filter) -> Where:
    """Return a filter as one condition.

    Raises:
        DocumentError: it is empty, has an operator that there is not, or a value that cannot be
            compared with.
    """
    return _parsed(filter, 0)


def _parsed(filter: object, depth: int) -> Where:
    if isinstance(filter, Where):
        return filter
    if not isinstance(filter, Mapping) or not filter:
        raise DocumentError(
            f"the filter is {filter!r}; give a field and a value, such as {{'source': 'a.md'}}, "
            "a Where, or None for no filter"
        )
    if depth > MAX_DEPTH:
        raise DocumentError(f"the filter is nested more than {MAX_DEPTH} deep; flatten it")
    return reduce(and_, [_entry(name, value, depth + 1) for name, value in filter.items()])


def _entry(name: Any, value: Any, depth: int) -> Where:
    if name in ("$and", "$or"):
        if not isinstance(value, (list, tuple)) or not value:
            raise DocumentError(f"{name} is {value!r}; give a list of at least one filter")
        join: Callable[[Where, Where], Where] = and_ if name == "$and" else or_
        joined: Where = reduce(join, [_parsed(one, depth) for one in value])
        return joined
    if name == "$not":
        return ~_parsed(value, depth)
    if name == "$ids":
        return Where.ids(value)
    if isinstance(name, str) and name.startswith("$"):
        raise DocumentError(
            f"the filter has {name!r} where a field is named; there are $and, $or, $not and $ids"
        )
    if isinstance(value, Mapping):
        return _operators(name, value, depth)
    if isinstance(value, (list, tuple, set, frozenset)):
        return Where.field(name).is_in(value)
    equal: Where = Where.field(name) == value
    return equal


def _operators(name: str, given: Mapping[str, Any], depth: int) -> Where:
    asked = {f"${key.removeprefix('$')}": value for key, value in given.items()}
    if not asked:
        raise DocumentError(f"the filter on {name!r} asks nothing; give a value or an operator")
    # The bounds are asked together: of a list it is one element that is within all of them.
    bounds = {BOUNDS[key]: asked.pop(key) for key in list(asked) if key in BOUNDS}
    parts = [Where.field(name).within(**bounds)] if bounds else []
    for key, value in asked.items():
        if key == "$not":
            if depth > MAX_DEPTH or not isinstance(value, Mapping):
                raise DocumentError(
                    f"$not of {name!r} is {value!r}; give an operator, such as {{'$lt': 10}}"
                )
            parts.append(~_operators(name, value, depth + 1))
        elif key in OPERATORS:
            parts.append(OPERATORS[key](name, value))
        else:
            raise DocumentError(
                f"the filter on {name!r} has {key!r}; there are "
                f"{', '.join([*BOUNDS, *OPERATORS, '$not'])}"
            )
    return reduce(and_, parts)


def _between(name: str, value: Any) -> Where:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise DocumentError(f"$between of {name!r} is {value!r}; give the least and the greatest")
    return Where.field(name).within(gte=value[0], lte=value[1])


def _holds(condition: Where, value: Any) -> Where:
    if not isinstance(value, bool):
        raise DocumentError(f"the filter on {condition.key!r} has {value!r}; give True or False")
    return condition if value else ~condition


OPERATORS: dict[str, Callable[[str, Any], Where]] = {
    "$eq": lambda name, value: Where.field(name) == value,
    "$ne": lambda name, value: Where.field(name) != value,
    "$in": lambda name, value: Where.field(name).is_in(value),
    "$nin": lambda name, value: ~Where.field(name).is_in(value),
    "$contains": lambda name, value: Where.field(name).contains(value),
    "$match": lambda name, value: Where.field(name).matches(value),
    "$between": _between,
    "$exists": lambda name, value: _holds(Where.field(name).exists(), value),
    "$null": lambda name, value: _holds(Where.field(name).is_null(), value),
}
