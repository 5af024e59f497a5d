"""What a document looks like in storage."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

import pytest

from inbedder_retrieval import Document, ViewCollection, Where
from inbedder_retrieval.collection.copies import copy_archive, save_store
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.schema import METADATA, document_of, payload_of, point_id
from inbedder_retrieval.testing import FakeEmbedder

NOTED = Document("a", "1", {"price": 5, "share": 0.1 + 0.2}, {"from": "x", "share": 0.1 + 0.2})


def test_ids_in_storage_stay_what_they_were() -> None:
    # UUID version 5 by hand (RFC 9562, section 5.5): SHA-1 of the namespace and the name.
    namespace = uuid.UUID("6f1d3c62-5a0e-5b83-9a34-6e0c5f6b0a71").bytes
    digest = hashlib.sha1(namespace + "größe/7".encode()).digest()[:16]
    assert point_id("größe/7") == str(uuid.UUID(bytes=digest, version=5))
    for number in range(100):
        assert point_id(str(number)) == str(uuid.uuid5(uuid.UUID(bytes=namespace), str(number)))


@pytest.mark.parametrize("share", [0.1 + 0.2, 1e300, 5e-324, 1e22, -1.5, 123456789.012345, 0.1])
def test_numbers_come_back_to_the_last_bit(tmp_path: Path, share: float) -> None:
    with ViewCollection.create(tmp_path / "c.inb", {"general": None}, FakeEmbedder()) as one:
        one.add([Document("a", "1", {"share": share})])
        assert one.get(["1"])[0].metadata == {"share": share}


def test_notes_are_stored_with_the_metadata_and_come_back_apart() -> None:
    assert document_of(payload_of(NOTED)) == NOTED
    assert payload_of(NOTED)[METADATA] == {**NOTED.metadata, "_notes": NOTED.notes}
    assert payload_of(Document("a", "1", {"price": 5}))[METADATA] == {"price": 5}


@pytest.mark.parametrize("kind", ["memory", "folder", "archive"])
def test_notes_are_kept_found_filtered_by_and_changed(kind: str, tmp_path: Path) -> None:
    place = str(tmp_path / "c.inb") if kind == "folder" else ":memory:"
    with ViewCollection.create(place, {"general": None}, FakeEmbedder()) as first:
        first.add([NOTED, Document("b", "2", {"from": "x"})])
        if kind == "archive":
            run(save_store(first._store, tmp_path / "c.parquet"))
            store, _ = run(copy_archive(tmp_path / "c.parquet", ":memory:"))
            store.use(FakeEmbedder())
            first = ViewCollection(store)
        with first as collection:
            assert collection.get(["1"]) == [NOTED]
            [hit] = collection.search("a", filter=Where.field("_notes.from") == "x")
            assert (hit.id, hit.metadata, hit.notes) == ("1", NOTED.metadata, NOTED.notes)
            assert collection.add([NOTED]).unchanged == 1
            assert collection.add([Document("a", "1", NOTED.metadata)]).relabelled == 1
            assert collection.get(["1"])[0].notes == {}
