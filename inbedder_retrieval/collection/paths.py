"""Paths: where a metadata field stands, as keys joined by dots; `"a.b"` in quotes is one key.

Qdrant's own paths know no escapes: a key with a double quote or a backslash cannot be written.
"""

from __future__ import annotations

import re
from typing import Any

from inbedder_retrieval.collection.schema import METADATA
from inbedder_retrieval.documents import check_json
from inbedder_retrieval.errors import DocumentError

__all__ = ["check_field", "stored_path", "value_at"]

_KEY = r'"[^"\\]+"|[^".\\]+'
_FIELD = re.compile(rf"(?:{_KEY})(?:\.(?:{_KEY}))*")


def check_field(field: object) -> None:
    """Raise DocumentError where a name is no path to a metadata key."""
    if not isinstance(field, str) or not field.strip():
        raise DocumentError(f"a filter names the field {field!r}; name a metadata key")
    check_json(field, "a filter's field")
    if not _FIELD.fullmatch(field):
        raise DocumentError(
            f"a filter names the field {field!r}; write keys joined by dots, and a key that holds "
            "a dot in double quotes (keys with a quote or a backslash cannot be filtered by)"
        )


def stored_path(field: str) -> str:
    """Return where a field is stored, as Qdrant writes paths."""
    keys = (key if _is_plain(key) else f'"{key}"' for key in _keys(field))
    return ".".join([METADATA, *keys])


def value_at(metadata: object, field: str) -> Any:
    """Return what metadata has under a field; None where it has nothing."""
    for key in _keys(field):
        metadata = metadata.get(key) if isinstance(metadata, dict) else None
    return metadata


def _keys(field: str) -> list[str]:
    return [key.strip('"') for key in re.findall(_KEY, field)]


def _is_plain(key: str) -> bool:
    """Whether Qdrant takes the key without quotes; so it also names it in the list of indexes."""
    return all(character.isalnum() or character in "_-" for character in key)
