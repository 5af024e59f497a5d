from __future__ import annotations

import copy
import pickle

import numpy as np

from inbedder_retrieval import Embeddings


def test_embeddings_keep_what_they_say_of_their_texts_when_they_are_copied_or_stored() -> None:
    """As they are when another process made them."""
    found = Embeddings({"a": np.eye(3, dtype=np.float32)}, truncated=(1,), empty=[0, 2])
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert isinstance(other, Embeddings)
        assert (other.truncated, other.empty) == ([1], [0, 2])
        assert (other["a"] == found["a"]).all()


def test_embeddings_have_lists_of_their_own() -> None:
    cut = [1]
    found = Embeddings({}, truncated=cut)
    cut.append(2)
    assert (found.truncated, found.empty) == ([1], [])
