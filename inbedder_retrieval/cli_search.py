"""`inbedder search`: one search of a collection, as `ViewCollection.search` does it."""

from __future__ import annotations

from inbedder_retrieval import options
from inbedder_retrieval.arguments import (
    check_text,
    parse_answers,
    parse_conditions,
    parse_weights,
)
from inbedder_retrieval.collection import ViewCollection
from inbedder_retrieval.collection.asked import Fusion
from inbedder_retrieval.console import print_hits, print_json, remark
from inbedder_retrieval.documents import Hit
from inbedder_retrieval.errors import CheckpointError, InputError, ViewNotReady

__all__ = ["search"]

FUSIONS: dict[str, Fusion] = {"sum": "sum", "ranks": "ranks"}
# The ranks of neighbours differ in the fourth decimal.
DIGITS = {"sum": 3, "ranks": 4}
# How many answer words are shown unasked.
WORDS = 3


def search(
    location: options.Location,
    query: options.MaybeQuery = None,
    view: options.SearchView = None,
    answer: options.Answer = None,
    like: options.Like = None,
    unlike: options.Unlike = None,
    top: options.TopHits = 10,
    offset: options.Offset = 0,
    where: options.Where = None,
    min_score: options.MinScore = None,
    group_by: options.GroupBy = None,
    group_size: options.GroupSize = None,
    diversity: options.Diversity = None,
    fusion: options.Fusion = "sum",
    exact: options.Exact = False,
    partial: options.Partial = False,
    words: options.Words = None,
    as_json: options.Json = False,
) -> None:
    """Find the texts with the nearest answers."""
    if query is None and not answer and not like:
        raise InputError(
            "there is nothing to look for; give a QUERY, --answer or --like (see inbedder search "
            "--help)"
        )
    if query is not None:
        check_text(query, "the query")
    if fusion not in FUSIONS:
        raise InputError(f"--fusion is {fusion!r}; choose sum or ranks")
    if group_by is None and group_size is not None:
        raise InputError("--group-size is for --group-by; name a field, or leave it out")
    weights, conditions = parse_weights(view), parse_conditions(where)
    with ViewCollection.open(location) as collection:

        def found(explain: int) -> list[Hit]:
            return collection.search(
                query,
                answer=parse_answers(answer, collection.views),
                like=like or (),
                unlike=unlike or (),
                views=weights,
                fusion=FUSIONS[fusion],
                limit=top,
                offset=offset,
                filter=conditions,
                threshold=min_score,
                diversity=diversity,
                group_by=group_by,
                group_size=1 if group_size is None else group_size,
                exact=exact,
                explain=explain,
                allow_partial=partial,
            )

        try:
            hits = found(WORDS if words is None else words)
        except ViewNotReady as error:
            raise ViewNotReady(f"{error}, which is --partial here") from error
        except CheckpointError:
            # Not every model's vectors are words; nobody asked for them.
            if words is not None:
                raise
            hits = found(0)
    if as_json:
        print_json([hit.model_dump(exclude={"notes"}) for hit in hits])
        return
    print_hits(hits, DIGITS[fusion])
    if not hits:
        limits = {"--where": where, "--min-score": min_score is not None, "--offset": offset}
        given = [option for option, value in limits.items() if value]
        remark("nothing found" + (f" that fits {' and '.join(given)}" if given else ""))
