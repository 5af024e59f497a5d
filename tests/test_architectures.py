"""Every architecture and strategy against plain transformers, to 1e-5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from inbedder_retrieval import (
    Embedder,
    View,
    Views,
)
from inbedder_retrieval.checkpoint import find_checkpoint
from inbedder_retrieval.prompting import Prompter
from tests.architectures import (
    CAUSAL,
    MASKED,
    QUESTION,
    TEXTS,
    TOLERANCE,
    plain_vectors,
    recipe_of,
    tokenizer_of,
)

STRATEGIES = [
    *[
        (name, change)
        for name in MASKED
        for change in (
            {},
            {"head": "mlm"},
            {"head": "mlm", "standardize": True},
            {"pooling": "avg_ppt"},
            {"pooling": "avg_all"},
            {"layer": 1},
            {"layer": 0},
            {"cut": "start"},
        )
    ],
    *[
        (name, change)
        for name in CAUSAL
        for change in (
            {},
            {"pooling": "avg_gen"},
            {"pooling": "avg_gen", "new_tokens": 6},
            {"pooling": "last_gen"},
            {"pooling": "avg_ppt"},
            {"pooling": "avg_all"},
            {"pooling": "avg_gen", "new_tokens": 1},
            {"layer": 1},
            {"layer": 2},
            {"cut": "start"},
        )
    ],
    *[
        ("t5", change)
        for change in (
            {},
            {"pooling": "avg_gen"},
            {"pooling": "last_gen"},
            {"pooling": "avg_ppt"},
            {"layer": 1},
            {"pooling": "avg_ppt", "layer": 1},
        )
    ],
]


@pytest.mark.parametrize(
    ("name", "changes"), STRATEGIES, ids=lambda value: str(value).replace(" ", "")
)
def test_vectors_are_those_of_plain_transformers(
    folders: dict[str, Path], name: str, changes: dict[str, object]
) -> None:
    recipe = recipe_of(folders[name], **changes)
    embedder = Embedder(folders[name], recipe=recipe, backend="torch")
    views = Views.of({"feeling": QUESTION, "need": "What is needed?", "again": QUESTION})
    found = embedder.embed(TEXTS, views, token_budget=700)
    expected = plain_vectors(name, folders[name], recipe, TEXTS, QUESTION)
    assert np.abs(found["feeling"] - expected).max() < TOLERANCE
    assert np.abs(found["again"] - expected).max() < TOLERANCE
    alone = embedder.embed(TEXTS[:1], View("need", "What is needed?"))["need"]
    assert np.abs(found["need"][:1] - alone).max() < TOLERANCE
    assert found.truncated == [7]
    if recipe.layer != 0:
        # The texts differ far more than the tolerance, or this would show nothing. (A rotary
        # model's embeddings know no places, so there all masks are alike.)
        spread = np.abs(expected[:, None] - expected[None]).max(axis=-1)
        assert (spread + np.eye(len(TEXTS)) > 10 * TOLERANCE).all()


def test_the_texts_own_mask_is_no_answer_slot(folders: dict[str, Path]) -> None:
    """The authors' code takes the states at every mask token, those of the text among them."""
    recipe = recipe_of(folders["roberta"])
    embedder = Embedder(folders["roberta"], recipe=recipe)
    text = "a <mask> in the text"
    ours = embedder.embed([text], View("feeling", QUESTION))["feeling"]
    assert (
        np.abs(ours - plain_vectors("roberta", folders["roberta"], recipe, [text], QUESTION)).max()
        < TOLERANCE
    )
    model = transformers.AutoModelForMaskedLM.from_pretrained(folders["roberta"]).eval()
    prompt = recipe.prompt.replace("{text}", text).replace("{question}", QUESTION)
    ids = tokenizer_of(folders["roberta"])(prompt + "<mask>" * 3, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        states = model(ids, output_hidden_states=True).hidden_states[-1][0]
    theirs = states[ids[0] == 4].mean(0)
    assert len(states[ids[0] == 4]) == 4
    assert np.abs(ours[0] - (theirs / theirs.norm()).numpy()).max() > 100 * TOLERANCE


@pytest.mark.parametrize("name", ["opt", "llama", "qwen"])
def test_causal_prompts_share_their_text(folders: dict[str, Path], name: str) -> None:
    recipe = recipe_of(folders[name])
    prompter = Prompter(find_checkpoint(folders[name]).tokenizer(), recipe)
    views = Views.of({f"v{k}": f"What is number {k}?" for k in range(4)})
    prompts = prompter.prompts(["the phone is broken " * 5], views)
    [batch] = prompter.batches(prompts, 10_000)
    alone = [len(prompt.input_ids) for prompt in prompts]
    shared = int((batch.segment_ids[0] == 0).sum())
    assert shared > 0.5 * min(alone)
    assert batch.input_ids.shape == (1, sum(alone) - 3 * shared)


@pytest.mark.parametrize("name", ["llama", "roberta"])
def test_nothing_of_the_vocabularys_size_is_made(
    folders: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Embedding needs no logits, and only the pooled layer leaves the model."""
    embedder = Embedder(folders[name], recipe=recipe_of(folders[name]))
    shapes: list[tuple[int, ...]] = []
    plain = torch.nn.Linear.forward

    def noting(layer: torch.nn.Linear, states: torch.Tensor) -> torch.Tensor:
        found = plain(layer, states)
        shapes.append(tuple(found.shape))
        return found

    monkeypatch.setattr(torch.nn.Linear, "forward", noting)
    embedder.embed(["the phone is broken"], View("feeling", QUESTION))
    vocabulary = find_checkpoint(folders[name]).config["vocab_size"]
    assert shapes
    assert all(shape[-1] != vocabulary for shape in shapes)
