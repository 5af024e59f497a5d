"""What a document looks like in storage."""

from __future__ import annotations

import hashlib
import uuid

from inbedder_retrieval.collection.schema import point_id


def test_ids_in_storage_stay_what_they_were() -> None:
    # UUID version 5 by hand (RFC 9562, section 5.5): SHA-1 of the namespace and the name.
    namespace = uuid.UUID("6f1d3c62-5a0e-5b83-9a34-6e0c5f6b0a71").bytes
    digest = hashlib.sha1(namespace + "größe/7".encode()).digest()[:16]
    assert point_id("größe/7") == str(uuid.UUID(bytes=digest, version=5))
