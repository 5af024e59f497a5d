from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from inbedder_retrieval import CheckpointError
from inbedder_retrieval.backends.pooling import Pooling
from inbedder_retrieval.recipe import Recipe

SEGMENTS = torch.tensor([[0, 0, 1, 2]])
# The mean of the text, and the answers to two questions.
WEIGHTS = torch.tensor([[[0.5, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]])


def recipe(head: str) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "tiny",
            "text_template": ("<s>", "{text}"),
            "question_template": ("{question}", "<mask>"),
            "answer_token": "<mask>",
            "head": head,
        }
    )


def load(folders: dict[str, Path], name: str) -> Any:
    return transformers.AutoModelForMaskedLM.from_pretrained(folders[name]).eval()


def states() -> torch.Tensor:
    return torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_without_a_head_a_vector_is_the_weighted_states(folders: dict[str, Path]) -> None:
    given = states()
    vectors, bare = Pooling(load(folders, "bert"), recipe("none"))(given, SEGMENTS, WEIGHTS)
    wanted = torch.stack([given[0, :2].mean(0), given[0, 2], given[0, 3]])[None]
    torch.testing.assert_close(vectors, wanted)
    torch.testing.assert_close(bare, wanted)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert"])
def test_the_head_is_what_the_model_sends_its_states_through_before_the_words(
    folders: dict[str, Path], name: str
) -> None:
    """The words' logits of our vectors are those of the whole model."""
    model = load(folders, name)
    ids = torch.tensor([[0, 60, 61, 4]])
    output = model(ids, output_hidden_states=True)
    found, bare = Pooling(model, recipe("mlm"))(output.hidden_states[-1], SEGMENTS, WEIGHTS)
    last = {"bert": "cls.predictions.decoder", "roberta": "lm_head.decoder"}
    words = model.get_submodule(last.get(name, "decoder"))
    torch.testing.assert_close(words(found)[0, 1:], output.logits[0, 2:], rtol=0, atol=1e-4)
    torch.testing.assert_close(bare[0, 1:], output.hidden_states[-1][0, 2:])


@torch.inference_mode()
def test_the_general_view_takes_no_head(folders: dict[str, Path]) -> None:
    given = states()
    found, bare = Pooling(load(folders, "bert"), recipe("mlm"))(given, SEGMENTS, WEIGHTS)
    torch.testing.assert_close(found[0, 0], given[0, :2].mean(0))
    assert (found[0, 1:] - bare[0, 1:]).abs().max() > 0.1


@torch.inference_mode()
def test_every_row_has_segments_of_its_own(folders: dict[str, Path]) -> None:
    """Rows of other prompts have their answers elsewhere."""
    given = states().repeat(2, 1, 1)
    pooling = Pooling(load(folders, "bert"), recipe("mlm"))
    weights = torch.tensor([[[1.0, 0, 0, 0]], [[1.0, 0, 0, 0]]])
    segments = torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0]])
    found, bare = pooling(given, segments, weights)
    torch.testing.assert_close(found[0], bare[0])
    assert (found[1] - bare[1]).abs().max() > 0.1


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_states_of_fewer_digits_are_pooled_with_all_digits(
    folders: dict[str, Path], dtype: torch.dtype
) -> None:
    """Sums of many states in float16 would lose what the layers still had."""
    given = states().to(dtype)
    pooling = Pooling(load(folders, "bert"), recipe("mlm"))
    found, _ = pooling(given, SEGMENTS, WEIGHTS)
    wanted, _ = pooling(given.float(), SEGMENTS, WEIGHTS)
    assert found.dtype == torch.float32
    assert (found == wanted).all()


def test_a_model_without_a_head_is_refused_where_the_recipe_wants_one(
    folders: dict[str, Path],
) -> None:
    body = load(folders, "bert").base_model
    with pytest.raises(CheckpointError, match="BertModel has no language-model head"):
        Pooling(body, recipe("mlm"))
