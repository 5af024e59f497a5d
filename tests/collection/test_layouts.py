from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbedder_retrieval import Document, DocumentError, InputError
from inbedder_retrieval.collection.layouts import LANGCHAIN, LLAMA_INDEX, Layout, found_layout
from tests.collection.theirs import WRITTEN

POINTS = [
    pytest.param(name, point, id=f"{name}-{point['id']}")
    for name, points in WRITTEN.items()
    for point in points
]


@pytest.mark.parametrize(("library", "point"), POINTS)
def test_a_payload_is_read_and_written_back(library: str, point: dict[str, Any]) -> None:
    payload = point["payload"]
    layout = found_layout(payload, "there")
    assert layout.library == library
    document = layout.read(str(point["id"]), payload)
    assert document is not None
    back = layout.written(document)
    if library == "llama-index":
        # The node is JSON text, with no embedding, and with the text of some nodes twice.
        mine, theirs = (json.loads(one["_node_content"]) for one in (back, payload))
        assert theirs.pop("embedding") is None
        if "text_resource" in theirs:
            theirs.pop("text")
        assert mine == theirs
        back["_node_content"] = payload["_node_content"]
    assert back == payload


@pytest.mark.parametrize("layout", [LANGCHAIN, LLAMA_INDEX, Layout(library="langchain", text="t")])
@settings(max_examples=25, deadline=None)
@given(
    text=st.text("ab \n"),
    metadata=st.dictionaries(
        st.text("abc", max_size=3), st.integers(-(2**63) + 1, 2**63 - 1) | st.text("ab"), max_size=3
    ),
)
def test_a_document_written_in_a_layout_is_read_in_it(
    layout: Layout, text: str, metadata: dict[str, Any]
) -> None:
    document = Document(text, id="x", metadata=metadata)
    read = layout.read("x", layout.written(document))
    assert read is not None
    assert (read.text, read.id, read.metadata) == (text, "x", metadata)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"page_content": None},
        {"page_content": 5},
        {"metadata": {}},
        {"_node_content": None},
        {"_node_content": "{"},
        {"_node_content": "[]"},
    ],
)
def test_a_payload_without_a_text_holds_no_document(payload: dict[str, Any]) -> None:
    assert LANGCHAIN.read("1", payload) is None
    assert LLAMA_INDEX.read("1", payload) is None


def test_a_payload_of_neither_library_is_refused() -> None:
    with pytest.raises(InputError, match="there holds points with a, b beside their vectors"):
        found_layout({"b": 1, "a": 2}, "there")
    with pytest.raises(InputError, match="points with nothing beside"):
        found_layout({}, "there")


def test_metadata_that_is_no_object_is_refused_by_its_point() -> None:
    with pytest.raises(DocumentError, match="point 7 cannot be adopted: metadata is str"):
        LANGCHAIN.read("7", {"page_content": "a", "metadata": "b"})
