"""The teacher's table against transformers, one text at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from inbedder_retrieval.training import teacher
from inbedder_retrieval.training.base import find_base, load_model
from inbedder_retrieval.training.plan import Batch
from inbedder_retrieval.training.prefix import PrefixRows
from inbedder_retrieval.training.teacher import Teacher
from tests.reference import plain_vectors, unit
from tests.training.rows import config_of, examples


def test_texts_and_answers_are_embedded_as_transformers_does(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In several parts, so that texts of different lengths are padded in one and not in another."""
    monkeypatch.setattr(teacher, "TAUGHT", 4)
    config = config_of(tiny_folder, "prefix")
    base = find_base(config, "tiny")
    rows = PrefixRows(examples(), base.tokenizer, base.recipe, config)
    batches = [Batch((3, 20, 11), 0), Batch((4, 9), 0), Batch((20, 26), 1)]
    model = load_model(base)
    taught = Teacher(model, base.recipe, rows, batches, torch.device("cpu"))
    for batch in batches:
        done = taught(rows.pack(batch))
        texts = [examples()[row].text for row in batch.rows]
        plain = plain_vectors(tiny_folder, texts, {"general": None}, most=40)["general"]
        np.testing.assert_allclose(unit(done["text_vectors"].numpy()), unit(plain), atol=1e-5)
        pairs = [pair for row in batch.rows for pair in examples()[row].pairs]
        answers = list(dict.fromkeys(answer for _, answer in pairs))
        plain = plain_vectors(tiny_folder, answers, {"general": None}, most=40)["general"]
        np.testing.assert_allclose(unit(done["answer_vectors"].numpy()), unit(plain), atol=1e-5)
