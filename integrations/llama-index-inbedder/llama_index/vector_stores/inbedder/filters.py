"""LlamaIndex's metadata filters as the collection's: every operator, nested by and, or and not.

They mean what LlamaIndex's own `SimpleVectorStore` takes them for, with two additions of the
collection's: a list fits where any of its elements does, and a bound that is a date, as ISO 8601
text, compares moments. `not` holds where none of its filters does.

A key is a metadata key, or keys joined by dots. `ref_doc_id`, `doc_id` and `document_id` also stand
for the document that a node was cut from, as in LlamaIndex's store for Qdrant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import reduce
from operator import and_, or_
from typing import Any, TypeAlias

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from inbedder_retrieval import Document, DocumentError, Where
from llama_index.vector_stores.inbedder.nodes import SOURCE

__all__ = ["Texts", "from_source", "holding", "texts_in_any_case", "where_exists", "where_of"]

SOURCE_KEYS = ("ref_doc_id", "doc_id", "document_id")
# A metadata key and a text to find in any case, with the ids of the documents that hold it.
Texts: TypeAlias = Mapping[tuple[str, str], Sequence[str]]
LISTS = (FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL)
BOUNDS = {
    FilterOperator.GT: "gt",
    FilterOperator.GTE: "gte",
    FilterOperator.LT: "lt",
    FilterOperator.LTE: "lte",
}


def where_of(filters: MetadataFilters, texts: Texts | None = None) -> Where | None:
    """Return the condition that filters stand for; None where there are none.

    Args:
        texts: the documents that hold each of `texts_in_any_case`, by id.

    Raises:
        DocumentError: an operator cannot be asked with its value.
    """
    found = (
        where_of(one, texts) if isinstance(one, MetadataFilters) else _condition(one, texts or {})
        for one in filters.filters
    )
    # A group of no filters says nothing.
    parts = [part for part in found if part is not None]
    if not parts:
        return None
    if filters.condition == FilterCondition.OR:
        return reduce(or_, parts)
    if filters.condition == FilterCondition.NOT:
        return ~reduce(or_, parts)
    return reduce(and_, parts)


def texts_in_any_case(filters: MetadataFilters) -> Iterator[tuple[str, str]]:
    """Yield the key and the text of every text match in which case does not count.

    Qdrant has no such match, so the documents that hold the text are looked for one by one.
    """
    for one in filters.filters:
        if isinstance(one, MetadataFilters):
            yield from texts_in_any_case(one)
        elif one.operator == FilterOperator.TEXT_MATCH_INSENSITIVE:
            yield one.key, _text(one)


def holding(documents: Iterable[Document], key: str, text: str) -> list[str]:
    """Return the ids of the documents whose metadata holds a text under a key, in any case."""
    wanted = text.lower()
    return [
        document.id
        for document in documents
        if any(wanted in found.lower() for found in _values(document, key))
    ]


def where_exists(key: str) -> Where:
    """Hold where there is a value under a key."""
    return _any_of(key, lambda field: field.exists())


def from_source(ids: Iterable[str]) -> Where:
    """Hold for the nodes cut from these documents, and for the documents that are nodes whole."""
    names = list(ids)
    source = Where.field(SOURCE)
    return source.is_in(names) | (Where.ids(names) & ~source.exists())


def _condition(asked: MetadataFilter, texts: Texts) -> Where:
    key, operator, value = asked.key, asked.operator or FilterOperator.EQ, asked.value
    if operator == FilterOperator.IS_EMPTY:
        return ~where_exists(key) | _any_of(key, lambda field: field == "")
    if operator == FilterOperator.TEXT_MATCH_INSENSITIVE:
        ids = texts.get((key, _text(asked)), ())
        return Where.ids(ids) if ids else _nothing(key)
    if operator in LISTS:
        return _listed(key, operator, _several(asked))
    if operator in BOUNDS:
        bound = {BOUNDS[operator]: _bound(asked)}
        return _any_of(key, lambda field: field.within(**bound))
    if operator == FilterOperator.TEXT_MATCH:
        return _any_of(key, lambda field: field.matches(_text(asked)))
    if isinstance(value, list) or value is None:
        raise DocumentError(
            f"the filter on {key!r} asks {operator.value!r} of {value!r}; give text or a number "
            "(for several there are 'in', 'any' and 'all', for a missing one 'is_empty')"
        )
    equal = _equal(key, value)
    return ~equal if operator == FilterOperator.NE else equal


def _equal(key: str, value: Any) -> Where:
    return _any_of(key, lambda field: field == value)


def _listed(key: str, operator: FilterOperator, values: list[Any]) -> Where:
    if operator == FilterOperator.ALL:
        # Of no values, all are there.
        parts = [_equal(key, value) for value in values]
        return reduce(and_, parts) if parts else where_exists(key)
    among = _any_of(key, lambda field: field.is_in(values)) if values else _nothing(key)
    return ~among if operator == FilterOperator.NIN else among


def _any_of(key: str, condition: Callable[[Any], Where]) -> Where:
    """Hold where the condition does of one of the fields that a key stands for."""
    fields = [key]
    if "." in key and '"' not in key:
        fields.append(f'"{key}"')
    if key in SOURCE_KEYS:
        fields.append(SOURCE)
    return reduce(or_, (condition(Where.field(name)) for name in fields))


def _nothing(key: str) -> Where:
    return where_exists(key) & ~where_exists(key)


def _several(asked: MetadataFilter) -> list[Any]:
    if not isinstance(asked.value, list):
        raise DocumentError(
            f"the filter on {asked.key!r} asks {asked.operator.value!r} of {asked.value!r}; give "
            "a list of values"
        )
    return asked.value


def _text(asked: MetadataFilter) -> str:
    if not isinstance(asked.value, str) or not asked.value:
        raise DocumentError(
            f"the filter on {asked.key!r} asks {asked.operator.value!r} of {asked.value!r}; give "
            "some text"
        )
    return asked.value


def _bound(asked: MetadataFilter) -> float | date:
    value = asked.value
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            try:
                return datetime.fromisoformat(value.replace("Z", "+00:00"))
            except ValueError:
                pass
    raise DocumentError(
        f"the filter on {asked.key!r} asks {asked.operator.value!r} of {value!r}; give a number, "
        "or a date as ISO 8601 text"
    )


def _values(document: Document, key: str) -> Iterator[str]:
    """Yield the texts that a key stands for, of lists their elements."""
    values: list[Any] = [document.metadata.get(key)]
    if key in SOURCE_KEYS:
        values.append(document.notes.get("ref_doc_id"))
    if "." in key:
        inner: Any = document.metadata
        for part in key.split("."):
            inner = inner.get(part) if isinstance(inner, Mapping) else None
        values.append(inner)
    for value in values:
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                yield one
