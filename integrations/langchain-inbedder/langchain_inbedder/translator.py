"""InBedderTranslator: filters that a language model wrote, for LangChain's self-query retriever.

Give it to `SelfQueryRetriever(structured_query_translator=InBedderTranslator(), ...)`, whose
store is an InBedderVectorStore.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from functools import reduce
from operator import and_, or_
from typing import Any

from inbedder_retrieval import DocumentError, Where
from langchain_core.structured_query import (
    Comparator,
    Comparison,
    Operation,
    Operator,
    StructuredQuery,
    Visitor,
)

__all__ = ["InBedderTranslator"]


class InBedderTranslator(Visitor):
    """Makes a Where of a structured query's filter.

    `like` holds where a text holds the text; dates compare as moments.
    """

    allowed_comparators = (
        Comparator.EQ,
        Comparator.NE,
        Comparator.GT,
        Comparator.GTE,
        Comparator.LT,
        Comparator.LTE,
        Comparator.IN,
        Comparator.NIN,
        Comparator.CONTAIN,
        Comparator.LIKE,
    )
    allowed_operators = (Operator.AND, Operator.OR, Operator.NOT)

    def visit_operation(self, operation: Operation) -> Where:
        """Join conditions; `not` holds where none of its conditions does.

        Raises:
            DocumentError: it joins nothing.
        """
        parts: list[Where] = [part.accept(self) for part in operation.arguments]
        if not parts:
            raise DocumentError(f"the filter joins {operation.operator.value} of no conditions")
        joined: Where = reduce(and_ if operation.operator is Operator.AND else or_, parts)
        return ~joined if operation.operator is Operator.NOT else joined

    def visit_comparison(self, comparison: Comparison) -> Where:
        """Compare one field.

        Raises:
            DocumentError: the value cannot be compared with.
        """
        self._validate_func(comparison.comparator)
        value = comparison.value
        asked = COMPARED[comparison.comparator]
        if isinstance(value, list):
            return asked(Where.field(comparison.attribute), [_plain(one) for one in value])
        return asked(Where.field(comparison.attribute), _plain(value))

    def visit_structured_query(
        self, structured_query: StructuredQuery
    ) -> tuple[str, dict[str, Any]]:
        """Return the query and the options of a search."""
        options: dict[str, Any] = {}
        if structured_query.filter is not None:
            options["filter"] = structured_query.filter.accept(self)
        if structured_query.limit is not None:
            options["k"] = structured_query.limit
        return structured_query.query, options


COMPARED: dict[Comparator, Callable[[Any, Any], Where]] = {
    Comparator.EQ: lambda field, value: field == value,
    Comparator.NE: lambda field, value: field != value,
    Comparator.GT: lambda field, value: field > value,
    Comparator.GTE: lambda field, value: field >= value,
    Comparator.LT: lambda field, value: field < value,
    Comparator.LTE: lambda field, value: field <= value,
    Comparator.IN: lambda field, value: field.is_in(value),
    Comparator.NIN: lambda field, value: ~field.is_in(value),
    Comparator.CONTAIN: lambda field, value: field.contains(value),
    Comparator.LIKE: lambda field, value: field.matches(value),
}


def _plain(value: Any) -> Any:
    """Return a date of LangChain's query language, `{"type": "date", "date": "..."}`, as one."""
    if not isinstance(value, dict):
        return value
    if value.get("type") == "date":
        return date.fromisoformat(value["date"])
    if value.get("type") == "datetime":
        return datetime.fromisoformat(value["datetime"])
    raise DocumentError(
        f"the filter compares with {value!r}; compare with text, a number or a date"
    )
