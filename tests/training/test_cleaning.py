from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbedder_retrieval.training.cleaning import MAX_WORDS, clean_answer


@pytest.mark.parametrize(
    ("answer", "cleaned"),
    [
        ("The Eiffel Tower.", "eiffel tower"),
        ("  He wants a REFUND, and soon! ", "wants refund soon"),
        (
            "one two three four five six seven eight nine ten",
            "one two three four five six seven eight",
        ),
        ("because of them", "because of them"),
        ("not allowed", "not allowed"),
        ("they don\u2019t care", "don't care"),
        ("she's happy", "happy"),
        ("(about) 5.50 $", "5.50 $"),
        ("-5 degrees", "-5 degrees"),
        ("100%", "100%"),
        ("...", ""),
        ("", ""),
        ("\U0001f600", "\U0001f600"),
        ("Caf\u0065\u0301", "caf\u00e9"),
    ],
)
def test_an_answer_is_cleaned_by_the_rule(answer: str, cleaned: str) -> None:
    assert clean_answer(answer) == cleaned


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80))
def test_cleaning_twice_changes_nothing_more(answer: str) -> None:
    once = clean_answer(answer)
    assert len(once.split()) <= MAX_WORDS
    assert clean_answer(once) == once
