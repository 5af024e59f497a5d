"""The registry on its way out and in, and the names of vectors."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbedder_retrieval import CollectionError, ModelMismatch, UnknownView, View, Views
from inbedder_retrieval.collection.registry import Registry, Unfinished, vector_name

VIEWS = Views.of({"feeling": "How does it feel?", "general": None, "größe": "Wie groß ist es?"})


@dataclass(frozen=True)
class Model:
    name: str
    fingerprint: str
    dimension: int


def new_registry(views: Views = VIEWS) -> Registry:
    return Registry.new(views, Model("small", "f1", 8))


@settings(max_examples=50, deadline=None)
@given(
    name=st.from_regex(r"\w([\w .-]{0,62}[\w.-])?", fullmatch=True),
    question=st.text(min_size=1, max_size=600).filter(str.strip),
)
def test_any_view_has_a_short_plain_vector_name(name: str, question: str) -> None:
    if name == "general":
        return
    assert re.fullmatch(r"[a-z0-9-]{1,64}", vector_name(View(name, question), "f" * 64))


def test_a_vector_name_changes_with_the_question_and_the_model() -> None:
    names = {
        vector_name(View("feeling", question), model)
        for question in ("How does it feel?", "How does it feel")
        for model in ("f1", "f2")
    }
    assert len(names) == 4


def test_vector_names_stay_what_they_were() -> None:
    # printf 'f1\nfeeling\nHow does it feel?' | b2sum -l 32
    assert vector_name(VIEWS["feeling"], "f1") == "feeling-57a63d6d"


def test_a_registry_reads_what_it_wrote_in_any_order_of_keys() -> None:
    registry = new_registry()
    entries = json.loads(json.dumps(registry.entries()))
    backwards = dict(reversed(entries.items())) | {"another.tool": {"kept": True}}
    assert Registry.from_entries(backwards, "here") == registry
    assert Registry.from_entries(backwards, "here").views == VIEWS


def test_a_registry_is_one_flat_entry_for_each_view_and_one_for_all() -> None:
    entries = new_registry().entries()
    assert len(entries) == 1 + len(VIEWS)
    assert all(isinstance(entry, dict) for entry in entries.values())


@pytest.mark.parametrize(
    "names", [["feeling", "Feeling"], ["感情", "心情"], ["a b", "a-b"], ["a" * 63, "a" * 64]]
)
def test_views_with_alike_names_and_one_question_stay_apart(names: list[str]) -> None:
    views = Views(View(name, "How does it feel?") for name in names)
    assert Registry.from_entries(new_registry(views).entries(), "here").views == views


HEAD = {"format": 1, "created": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "entries",
    [
        {},
        [],
        None,
        3,
        "text",
        {"inbedder": 3},
        {"inbedder": {}},
        {"inbedder": HEAD | {"created": "yesterday"}},
        {"inbedder": HEAD, "inbedder.view.feeling-0": {"name": 1}},
        {"inbedder": HEAD, "inbedder.view.feeling-0": {}},
        pytest.param({"inbedder": HEAD}, id="no view"),
        pytest.param({"inbedder": HEAD, "inbedder.view.feeling-0": None}, id="no view is left"),
    ],
)
def test_entries_that_are_no_registry_are_refused(entries: Any) -> None:
    with pytest.raises(CollectionError, match=r"^here is no collection of this package"):
        Registry.from_entries(entries, "here")


def test_a_registry_of_a_newer_format_says_so() -> None:
    entries = new_registry().entries()
    entries["inbedder"]["format"] = 2
    with pytest.raises(CollectionError, match=r"format 2; this version reads format 1.*newer"):
        Registry.from_entries(entries, "here")


def test_a_registry_accepts_the_model_that_wrote_it_and_no_other() -> None:
    registry = new_registry()
    registry.check_model(Model("renamed", "f1", 8))
    with pytest.raises(ModelMismatch, match="vectors of 8 numbers by small, and large makes 16"):
        registry.check_model(Model("large", "f1", 16))
    with pytest.raises(ModelMismatch, match=r"'feeling' was written by small.*cannot be compared"):
        registry.check_model(Model("small", "f2", 8))


def test_an_unknown_view_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownView, match=r"no view 'need' here.*feeling, general, größe"):
        new_registry().record("need")


def test_a_copy_that_is_not_whole_is_read_only_by_who_finishes_it() -> None:
    mark = Unfinished(source="/srv/it's.inb", identity="x")
    half = new_registry().model_copy(update={"unfinished": mark})
    entries = json.loads(json.dumps(half.entries()))
    assert Registry.from_entries(entries, "b.inb", allow_unfinished=True) == half
    with pytest.raises(CollectionError, match=r"inbedder copy '/srv/it'\"'\"'s.inb' b.inb\), or"):
        Registry.from_entries(entries, "b.inb")
    whole = half.model_copy(update={"unfinished": None})
    assert list(whole.changes(half)) == ["inbedder"]
    assert Registry.from_entries(entries | whole.changes(half), "b.inb") == whole
