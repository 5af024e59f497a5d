"""What was typed on the command line, as the library's values."""

from __future__ import annotations

import math
import operator
import re
from functools import reduce
from pathlib import Path

from inbedder_retrieval.collection.filters import Field, Where
from inbedder_retrieval.collection.moments import read_date
from inbedder_retrieval.documents import MAX_INTEGER
from inbedder_retrieval.errors import InputError, UnknownView, ViewError
from inbedder_retrieval.views import View, Views

__all__ = [
    "check_file",
    "check_text",
    "parse_answers",
    "parse_condition",
    "parse_conditions",
    "parse_span",
    "parse_views",
    "parse_weights",
    "require_views",
]


def parse_views(given: list[str] | None, file: Path | None) -> Views | None:
    """Read `--view name="question"` options, or a `--views` file; None where neither was given."""
    if given and file:
        raise ViewError("both --view and --views were given; use one of them")
    if file:
        return Views.load(file)
    return Views(View.parse(text) for text in given) if given else None


def require_views(given: list[str] | None, file: Path | None) -> Views:
    """Read views likewise, where there must be some."""
    views = parse_views(given, file)
    if views is None:
        raise ViewError('no view was given; give --view name="question", or a file with --views')
    return views


def parse_weights(given: list[str] | None) -> dict[str, float] | None:
    """Read `--view name` and `--view name=weight` options; None where there are none."""
    if not given:
        return None
    weights: dict[str, float] = {}
    for text in given:
        name, equals, weight = text.partition("=")
        name = name.strip()
        if name in weights:
            raise ViewError(f"view {name!r} is given twice; give each view once, with one weight")
        number = _number(weight) if equals else 1.0
        if number is None:
            raise ViewError(
                f"the view is given as {text!r}; write a view's name, or name=weight with a number"
            )
        weights[name] = number
    return weights


def parse_answers(given: list[str] | None, views: Views) -> str | dict[str, str] | None:
    """Read `--answer text`, or `--answer name=text` options, an answer for each view.

    Raises:
        InputError: an answer is empty, or one of several does not say which view it is for.
        UnknownView: it says so, and there is no such view.
    """
    if not given:
        return None
    answers: dict[str, str] = {}
    for text in given:
        check_text(text, "--answer")
        name, equals, answer = text.partition("=")
        name = name.strip()
        # A sentence may hold the sign, so what stands before it must be a name, or look like one.
        for_view = equals and (name in views.names or re.fullmatch(r"[\w.-]+", name))
        if len(given) == 1 and not for_view:
            return text
        if not equals:
            raise InputError(
                f"--answer is {text!r}; where there are several, write name=answer with a view's "
                f"name ({', '.join(views.names)})"
            )
        if name not in views.names:
            raise UnknownView(
                f"--answer is {text!r}, and there is no view {name!r} here; the collection has "
                f"{', '.join(views.names)}"
            )
        if name in answers:
            raise InputError(f"--answer is given twice for view {name!r}; give it once")
        check_text(answer, f"the answer for view {name!r}")
        answers[name] = answer.strip()
    return answers


def parse_condition(text: str) -> Where:
    """Read `field=value` (also != < <= > >=), `field~text` or `field?` as a filter.

    What was typed for = or != may stand for a number, a boolean, a date or a text: all are looked
    for. A date is `2026-01-31` or `2026-01-31T10:00`, with seconds and a zone or without. `~` finds
    a text within the field, `?` holds where the field has a value; `!~` and `!?` where not.
    """
    match = re.fullmatch(
        r"""\s*((?:"[^"]*"|[^=<>!~"])+?)\s*(?:(!?\?)\s*|(!=|!~|<=|>=|=|<|>|~)\s*(.*))""",
        text,
        re.DOTALL,
    )
    if match is None:
        raise InputError(
            f"--where is {text!r}; write field=value (or != < <= > >=), field~text or field?"
        )
    field = Where.field(match[1])
    sign, value = match[2] or match[3], match[4] or ""
    if value.startswith("="):
        raise InputError(f"--where is {text!r}; write {sign} instead of {sign}=")
    if sign.endswith("?"):
        found = field.exists()
    elif sign.endswith("~"):
        found = field.matches(value)
    elif sign in ("=", "!="):
        found = field.is_in(_meanings(value))
    else:
        return _compare(field, sign, value, text)
    return ~found if sign.startswith("!") else found


def parse_conditions(given: list[str] | None) -> Where | None:
    """Read `--where` options, all of which must hold; None where there are none."""
    return reduce(operator.and_, map(parse_condition, given)) if given else None


def _meanings(value: str) -> list[object]:
    """Return all that a typed value may stand for."""
    found: list[object] = [value]
    number = _number(value)
    if number is not None and math.isfinite(number):
        found.append(number)
    if value in ("true", "false"):
        found.append(value == "true")
    if (day := read_date(value)) is not None:
        found.append(day)
    return found


def _compare(field: Field, sign: str, value: str, text: str) -> Where:
    number = _number(value)
    bound = read_date(value) if number is None else number
    if bound is None:
        raise InputError(
            f"--where {text!r} compares with {value!r}; {sign} needs a number, or a date such as "
            "2026-01-31"
        )
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[sign]
    found: Where = compare(field, bound)
    return found


def parse_span(text: str, option: str) -> tuple[int, int]:
    """Read a number, or two as in `1-90`: the least and the most."""
    match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2] or match[1]):
        raise InputError(
            f"{option} is {text!r}; write a number from 1 on, or two such as 1-90, smaller first"
        )
    return int(match[1]), int(match[2] or match[1])


def check_text(text: str, name: str) -> None:
    """Refuse an empty text: the library embeds one on purpose, and who types one has slipped."""
    if not text.strip():
        raise InputError(f"{name} is empty; write some text")


def check_file(file: Path, option: str = "--out") -> None:
    """Refuse a file that cannot be written, before there is anything to write."""
    if file.is_dir():
        raise InputError(f"{option} {file} is a folder; give the name of a file to write")
    if not file.absolute().parent.is_dir():
        raise InputError(
            f"{option} {file} is in a folder that does not exist; make the folder first"
        )


def _number(text: str) -> float | None:
    """Return a whole number as an int, which keeps digits that a float does not."""
    for read in (int, float):
        try:
            number = read(text)
        except ValueError:
            continue
        if isinstance(number, float) or abs(number) <= MAX_INTEGER:
            return number
    return None
