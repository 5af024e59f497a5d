"""Options: what a search may be asked for beside the query and `k`, in every method alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict

from inbedder_retrieval import InputError

from langchain_inbedder.filters import Filter, where_of

__all__ = ["SearchOptions", "search_arguments", "searched_views"]


class SearchOptions(TypedDict, total=False):
    """What every search method of the store takes by keyword; None counts as not given.

    Attributes:
        view: another view than the store's own.
        views: several views with weights, instead of one.
        filter: a condition on metadata (see `filters.py`).
        score_threshold: the least score of a hit; in relevance searches, of 0 to 1.
        as_answer: the query is the answer that the documents are to give, such as "a refund".
        like, unlike: ids of documents whose answers are, or are not, what is wanted.
        fusion: how several views are joined: the `sum` of weighted cosines, or `ranks`.
        offset: how many hits to pass over.
        group_by: a metadata field; at most `group_size` hits for each of its values, and `k` is
            the number of groups.
        candidates: how many nearest documents of each view are looked at, where several are
            joined. In searches by marginal relevance it is called `fetch_k`.
        exact: compare with every document instead of walking the graph.
        allow_partial: search a view that is still being built.
    """

    view: str | None
    views: Mapping[str, float] | None
    filter: Filter | None
    score_threshold: float | None
    as_answer: bool
    like: Iterable[str]
    unlike: Iterable[str]
    fusion: Literal["sum", "ranks"]
    offset: int
    group_by: str | None
    group_size: int
    candidates: int | None
    exact: bool
    allow_partial: bool


RENAMED = {"score_threshold": "threshold"}


def search_arguments(
    own_view: str, query: str | None, k: int, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of `ViewCollection.search`.

    Args:
        own_view: the view to search where none is asked for.
        query: a text, or None where the caller adds a vector.
        options: SearchOptions, as they came.

    Raises:
        InputError: there is no option of this name.
        DocumentError: the filter is unusable.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if unknown := sorted(given.keys() - SearchOptions.__annotations__.keys()):
        raise InputError(
            f"a search has no option {unknown[0]!r}; there are k and "
            f"{', '.join(SearchOptions.__annotations__)}"
        )
    as_answer = given.pop("as_answer", False)
    if "filter" in given:
        given["filter"] = where_of(given["filter"])
    if not given.keys() & {"view", "views"}:
        given["view"] = own_view
    arguments = {RENAMED.get(name, name): value for name, value in given.items()}
    if query is not None:
        arguments["answer" if as_answer else "query"] = query
    return {"limit": k, **arguments}


def searched_views(own_view: str, options: Mapping[str, Any]) -> list[str]:
    """Return the names of the views that a search with these options looks at."""
    views = options.get("views")
    return [options.get("view") or own_view] if views is None else list(views)
