"""Filters in Qdrant's words, for either of its libraries; what they mean is in `filters.py`.

Each condition is asked in a form that has one answer, with a payload index and without:

- Qdrant keeps one index a field, and an integer index does not see floats: a number is asked for
  as a range of floats. It takes in the nearest floats on either side, because Qdrant may read a
  number back from disk a digit off. Integers that a float cannot hold are asked for as themselves.
- Text is matched as a substring. Qdrant's `text` match means substrings up to version 1.19.0,
  words from 1.19.1 on, and what its tokenizer makes of it where there is a text index
  (https://github.com/qdrant/qdrant/pull/10341).
- Null is asked for as a field's condition: before 1.19.1 the condition of its own does not see a
  list that holds null (https://github.com/qdrant/qdrant/issues/10096).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Any

from inbedder_retrieval.collection.filters import Where
from inbedder_retrieval.collection.schema import point_id

__all__ = ["Dialect", "compile_where", "misleading"]

JOINED = {"all": "must", "any": "should", "none": "must_not"}
# An index of numbers answers for dates, and one of dates for numbers, each by what it holds.
MISLED: dict[str, str] = {"float": "datetime", "datetime": "float"}


@dataclass(frozen=True)
class Dialect:
    """What differs between the two Qdrant libraries; all other names are alike.

    Attributes:
        library: `qdrant_client.models` or `qdrant_edge`.
        number_range: its class for a range of floats.
        time_range: its class for a range of moments.
        has_id: makes its condition on point ids.
        substring: makes what matches a text that holds another.
        boolean: makes what it takes for a boolean.
        moment: makes what it takes for a moment.
    """

    library: ModuleType
    number_range: Callable[..., Any]
    time_range: Callable[..., Any]
    has_id: Callable[[list[str]], Any]
    substring: Callable[[str], Any]
    boolean: Callable[[bool], Any] = bool
    moment: Callable[[datetime], Any] = lambda moment: moment


def compile_where(where: Where, dialect: Dialect) -> Any:
    """Return the filter as an object of the dialect's library."""
    if where.kind in JOINED:
        return _condition(where, dialect)
    return dialect.library.Filter(must=[_condition(where, dialect)])


def misleading(where: Where) -> set[tuple[str, str]]:
    """Return the stored paths with the kind of index that would answer a condition wrongly."""
    return {(path, MISLED[kind]) for path, kind in where.compared() if kind in MISLED}


def _condition(where: Where, dialect: Dialect) -> Any:
    library = dialect.library
    if where.kind in JOINED:
        parts = [_condition(part, dialect) for part in where.parts]
        return library.Filter(**{JOINED[where.kind]: parts})
    if where.kind == "ids":
        ids = where.value if isinstance(where.value, tuple) else ()
        return dialect.has_id([point_id(one) for one in ids])
    return library.FieldCondition(key=where.path, **_asked(where, dialect))


def _asked(where: Where, dialect: Dialect) -> dict[str, Any]:
    """Return what is asked of the field, as arguments of a FieldCondition."""
    library = dialect.library
    if where.kind == "range":
        return {"range": dialect.number_range(**dict(where.bounds))}
    if where.kind == "time":
        moments = {
            name: dialect.moment(bound)
            for name, bound in where.bounds
            if isinstance(bound, datetime)
        }
        return {"range": dialect.time_range(**moments)}
    if where.kind == "match":
        return {"match": dialect.substring(str(where.value))}
    if where.kind == "exists":
        return {"is_empty": False}
    if where.kind == "null":
        return {"is_null": True}
    value = dialect.boolean(where.value) if isinstance(where.value, bool) else where.value
    return {"match": library.MatchValue(value=value)}
