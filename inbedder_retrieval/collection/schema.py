"""What a document looks like in storage: the point's id and its payload."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from inbedder_retrieval.documents import NOTES, Document

__all__ = [
    "document_of",
    "holds_document",
    "metadata_of",
    "noted",
    "payload_of",
    "point_id",
    "text_hash",
]

ID, TEXT, HASH, METADATA, EXACT = "id", "text", "hash", "metadata", "exact"
_POINT_NAMESPACE = uuid.UUID("6f1d3c62-5a0e-5b83-9a34-6e0c5f6b0a71")


def point_id(document_id: str) -> str:
    """Return the UUID a document is stored under (RFC 9562 version 5 of its id)."""
    # As `uuid.uuid5` writes it, which takes three times as long.
    digits = hashlib.sha1(
        _POINT_NAMESPACE.bytes + document_id.encode(), usedforsecurity=False
    ).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def text_hash(text: str) -> str:
    """Return 32 hexadecimal digits that tell an edited text from an unchanged one."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def as_json(value: object) -> str:
    """Return JSON text that is equal for equal values of equal types: 1 is neither 1.0 nor True."""
    return json.dumps(value, sort_keys=True)


def payload_of(document: Document) -> dict[str, Any]:
    """Return what is stored beside a document's vectors; its notes stand with the metadata."""
    metadata = document.metadata | ({NOTES: document.notes} if document.notes else {})
    payload: dict[str, Any] = {
        ID: document.id,
        TEXT: document.text,
        HASH: text_hash(document.text),
        METADATA: metadata,
    }
    if _has_long_float(metadata):
        # Edge reads such a number back with an error in its last bit: keep its text too.
        payload[EXACT] = json.dumps(metadata)
    return payload


def metadata_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata and notes as they were given, from a payload with METADATA and EXACT."""
    found: dict[str, Any] = json.loads(payload[EXACT]) if EXACT in payload else payload[METADATA]
    return found


def noted(stored: Any) -> dict[str, Any]:
    """Return a document's `metadata` and `notes`, from both as they are stored."""
    if not isinstance(stored, dict) or NOTES not in stored:
        return {"metadata": stored}
    metadata = dict(stored)
    return {"notes": metadata.pop(NOTES), "metadata": metadata}


def holds_document(payload: Mapping[str, Any]) -> bool:
    """Return whether a payload is a document's, and not that of a point others have written."""
    texts = isinstance(payload.get(ID), str) and isinstance(payload.get(TEXT), str)
    return texts and METADATA in payload


def document_of(payload: Mapping[str, Any]) -> Document:
    """Return the document that a whole payload was made of."""
    return Document(payload[TEXT], id=payload[ID], **noted(metadata_of(payload)))


def _has_long_float(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_long_float, value.values()))
    if isinstance(value, list):
        return any(map(_has_long_float, value))
    if not isinstance(value, float):
        return False
    written = repr(value)
    if len(written) <= 16 and "e" not in written:
        return False
    _, digits, exponent = Decimal(written).as_tuple()
    return len(digits) > 15 or abs(int(exponent)) > 22
