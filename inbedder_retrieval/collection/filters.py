"""Filters: a small expression over metadata, compiled for either Qdrant library.

Write a dict (`{"product": "headphones", "price": {"lt": 100}}`, all of which must hold) or combine
conditions: `Where.equals("product", "headphones") & ~Where.range("price", gte=100)`.

Numbers compare as numbers: 5 equals 5.0. Qdrant keeps one index a field and an integer index
does not see floats, so a number is always asked for as a float range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, TypeAlias

from inbedder_retrieval.collection.schema import METADATA
from inbedder_retrieval.documents import check_json
from inbedder_retrieval.errors import DocumentError

__all__ = ["FieldKind", "Where", "compile_where", "parse_where"]

Scalar: TypeAlias = "str | int | float | bool"
FieldKind: TypeAlias = Literal["keyword", "float", "bool"]
WhereLike: TypeAlias = "Where | Mapping[str, Any]"
BOUNDS = ("gt", "gte", "lt", "lte")


@dataclass(frozen=True)
class Where:
    """A condition on one field, or several joined; make one with the class methods.

    Attributes:
        kind: `equals`, `range`, or how `parts` are joined: `all`, `any` or `none` of them.
        field: the metadata key; a dot goes into a nested object.
    """

    kind: Literal["equals", "range", "all", "any", "none"]
    field: str = ""
    value: Scalar | None = None
    bounds: tuple[tuple[str, float], ...] = ()
    parts: tuple[Where, ...] = ()

    @classmethod
    def equals(cls, field: str, value: Scalar) -> Where:
        """Hold where the field is the value, or a list that contains it."""
        if not isinstance(value, (str, int, float)):
            raise DocumentError(
                f"the filter on {field!r} compares with {type(value).__name__}; "
                "compare with text, a number or a boolean"
            )
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return cls.range(field, gte=value, lte=value)
        check_json(value, f"the filter on {field!r}")
        return cls("equals", _field(field), value)

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
        return Where("all", parts=(self, other))

    def __or__(self, other: Where) -> Where:
        return Where("any", parts=(self, other))

    def __invert__(self) -> Where:
        return Where("none", parts=(self,))

    def fields(self) -> Iterator[tuple[str, FieldKind]]:
        """Yield the stored path and the index kind of every field the filter looks at."""
        for part in self.parts:
            yield from part.fields()
        if self.kind == "range":
            yield f"{METADATA}.{self.field}", "float"
        elif self.kind == "equals":
            yield f"{METADATA}.{self.field}", "bool" if isinstance(self.value, bool) else "keyword"


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


def compile_where(where: Where, library: ModuleType, range_name: str) -> Any:
    """Return the filter as an object of `qdrant_client.models` or of `qdrant_edge`.

    The two libraries give the same names to the same things; only the number range differs.
    """
    joined = {"all": "must", "any": "should", "none": "must_not"}
    if where.kind in joined:
        parts = [compile_where(part, library, range_name) for part in where.parts]
        return library.Filter(**{joined[where.kind]: parts})
    key = f"{METADATA}.{where.field}"
    if where.kind == "range":
        limits = getattr(library, range_name)(**dict(where.bounds))
        return library.Filter(must=[library.FieldCondition(key=key, range=limits)])
    match = library.MatchValue(value=where.value)
    return library.Filter(must=[library.FieldCondition(key=key, match=match)])


def _field(field: str) -> str:
    if not isinstance(field, str) or not field.strip():
        raise DocumentError(f"a filter names the field {field!r}; name a metadata key")
    check_json(field, "a filter's field")
    return field
