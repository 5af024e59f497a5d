from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

from inbedder_retrieval.bench.peers import (
    PEERS,
    instructed_prompts,
    original,
    original_prompts,
    sentence_transformers,
)
from inbedder_retrieval.bench.workload import questions
from inbedder_retrieval.checkpoint import DEFAULT_MODEL, find_checkpoint
from inbedder_retrieval.errors import InputError, MissingExtraError
from tests.architectures import ARCHITECTURES, tokenizer_of
from tests.reference import unit

TEXTS = ["the phone is broken and late", "where is my refund", "love the lamp, thank you", "a"]
VIEWS = questions(2)
NAMES = ["bert", "roberta", "opt", "llama", "qwen"]


@pytest.fixture(scope="module")
def published(
    folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The tiny checkpoints, with the tokenizer settings that published ones come with."""
    root = tmp_path_factory.mktemp("published")
    for name in NAMES:
        shutil.copytree(folders[name], root / name)
        tokenizer_of(folders[name]).save_pretrained(root / name)
    return {name: root / name for name in NAMES}


@torch.inference_mode()
def states_of(folder: Path, prompts: list[str]) -> list[tuple[list[int], NDArray[np.float32]]]:
    """Run prompts one at a time, without padding: their tokens and last states."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    kind: Any = getattr(transformers, ARCHITECTURES[folder.name][0])
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for prompt in prompts:
        ids = tokenizer(prompt)["input_ids"]
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1]
        found.append((ids, states[0].numpy()))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_originals_loop_gives_the_state_of_the_answer(
    name: str, published: dict[str, Path]
) -> None:
    checkpoint = find_checkpoint(published[name])
    found = original(checkpoint, "cpu", "float32")(TEXTS, VIEWS, 3)
    prompts = original_prompts(checkpoint, TEXTS, VIEWS)
    mask = checkpoint.tokenizer().token_to_id(checkpoint.recipe.answer_token or "")
    expected = [
        states[-1] if mask is None else states[np.array(ids) == mask].mean(axis=0)
        for ids, states in states_of(published[name], prompts)
    ]
    assert found.shape == (4, 2, 32)
    np.testing.assert_allclose(found.reshape(8, 32), expected, atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_sentence_transformers_gives_the_mean_of_the_prompt(
    name: str, published: dict[str, Path]
) -> None:
    checkpoint = find_checkpoint(published[name])
    found = sentence_transformers(checkpoint, "cpu", "float32")(TEXTS, VIEWS, 3)
    prompts = instructed_prompts(checkpoint, TEXTS, VIEWS)
    causal = checkpoint.recipe.model == "causal"
    expected = np.array(
        [
            states[-1] if causal else states.mean(axis=0)
            for _, states in states_of(published[name], prompts)
        ]
    )
    assert found.shape == (4, 2, 32)
    np.testing.assert_allclose(found.reshape(8, 32), unit(expected), atol=1e-5)


def test_prompts_of_the_packaged_model_hold_text_question_and_slot() -> None:
    checkpoint = find_checkpoint(DEFAULT_MODEL)
    assert original_prompts(checkpoint, ["a {question}", "b"], VIEWS) == [
        "a {question} Which product is it about?[MASK]",
        "a {question} How does the customer feel?[MASK]",
        "b Which product is it about?[MASK]",
        "b How does the customer feel?[MASK]",
    ]
    assert instructed_prompts(checkpoint, ["a"], VIEWS[:1]) == ["Which product is it about? a"]


def test_the_originals_loop_says_which_models_it_reads(folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="masked and causal models, not seq2seq"):
        original(find_checkpoint(folders["t5"]), "cpu", "float32")


def test_a_peer_that_is_not_installed_says_how_to_install_it(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'inbedder-retrieval\[bench\]'"):
        sentence_transformers(find_checkpoint(tiny_folder), "cpu", "float32")


def test_loading_a_peer_is_silent_and_leaves_transformers_as_it_was(
    tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logging: Any = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    for peer in PEERS:
        peer.load(find_checkpoint(tiny_folder), "cpu", "float32")(TEXTS, VIEWS, 2)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")
