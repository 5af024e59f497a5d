"""Prompted training: a row for each text and question, and the loss of its answer's tokens.

    joint    prompt and as many masks as the answer has pieces; the loss is at the masks
    causal   prompt, answer and the closing token; the loss is of the answer and the closing token

Prompts are made by `prompting.Prompter`, as they are when texts are embedded: only texts are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from inbedder_retrieval.errors import CheckpointError, ViewError
from inbedder_retrieval.prompting import Prompter
from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.training.base import answer_pieces
from inbedder_retrieval.training.config import TrainConfig
from inbedder_retrieval.training.examples import Example
from inbedder_retrieval.training.losses import IGNORED, token_loss
from inbedder_retrieval.training.plan import Batch
from inbedder_retrieval.views import View, Views

__all__ = ["PromptedRows", "PromptedStudent"]

Tensors = dict[str, torch.Tensor]


class PromptedRows:
    """Pairs as token rows with labels, and padded batches of them.

    Attributes:
        sizes: (N, 3) of every row; see `plan.make_plan`.
        cut: how many texts, questions (none) and answers were cut.
        dropped: pairs that cannot be asked: the question leaves no room for a text, or the answer
            has no piece in the vocabulary.
        owners: (N,) which example each row is of.

    Raises:
        CheckpointError: a causal model's configuration names no closing token.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        tokenizer: Tokenizer,
        recipe: Recipe,
        config: TrainConfig,
        closing: int | None,
    ) -> None:
        self._recipe = recipe
        if recipe.attention == "causal" and closing is None:
            raise CheckpointError(
                f"the configuration of {config.base} names no eos_token_id, and a causal model has "
                "to learn where an answer ends"
            )
        answers = list(dict.fromkeys(answer for one in examples for _, answer in one.pairs))
        whole = dict(zip(answers, answer_pieces(tokenizer, answers), strict=True))
        most = config.max_answer_tokens
        cut_answers = sum(len(pieces) > most for pieces in whole.values())
        self._rows: list[tuple[list[int], list[int]]] = []
        owners: list[int] = []
        self.dropped, cut_texts = 0, 0
        by_shape: dict[tuple[int, str], list[tuple[int, list[int]]]] = {}
        for number, example in enumerate(examples):
            for question, answer in example.pairs:
                pieces = whole[answer][:most]
                if not pieces:
                    self.dropped += 1
                    continue
                masks = len(pieces) if recipe.attention == "joint" else 0
                by_shape.setdefault((masks, question), []).append((number, pieces))
        prompters: dict[int, Prompter] = {}
        for (masks, question), asked in by_shape.items():
            if masks not in prompters:
                prompters[masks] = Prompter(tokenizer, _with_room(recipe, masks, most))
            texts = [examples[number].text for number, _ in asked]
            try:
                prompts = prompters[masks].prompts(texts, Views([View("question", question)]))
            except ViewError:
                self.dropped += len(asked)
                continue
            for prompt, (number, pieces) in zip(prompts, asked, strict=True):
                cut_texts += prompt.truncated
                owners.append(number)
                self._rows.append(_labelled(prompt.input_ids, prompt.slots, pieces, closing))
        self.owners = np.array(owners, dtype=np.int64)
        self.cut = (cut_texts, 0, cut_answers)
        self.sizes = np.zeros((len(self._rows), 3), dtype=np.int64)
        self.sizes[:, 0] = [len(ids) for ids, _ in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def items(self, batch: Batch) -> int:
        """Return how many labels a batch has."""
        return sum(label != IGNORED for row in batch.rows for label in self._rows[row][1])

    def pack(self, batch: Batch, seed: int = 0) -> Tensors:
        """Pack a batch: input_ids, attention_mask and labels (B, S), padded on the right."""
        rows = [self._rows[row] for row in batch.rows]
        shape = (len(rows), max(len(ids) for ids, _ in rows))
        found = {
            "input_ids": torch.zeros(shape, dtype=torch.long),
            "attention_mask": torch.zeros(shape, dtype=torch.long),
            "labels": torch.full(shape, IGNORED, dtype=torch.long),
        }
        for number, (ids, labels) in enumerate(rows):
            found["input_ids"][number, : len(ids)] = torch.tensor(ids)
            found["attention_mask"][number, : len(ids)] = 1
            found["labels"][number, : len(ids)] = torch.tensor(labels)
        return found


class PromptedStudent(torch.nn.Module):
    """A masked or causal language model, and the loss of the labelled tokens of a batch."""

    def __init__(self, model: Any, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self._causal = recipe.attention == "causal"

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor
    ) -> Tensors:
        settings = {"use_cache": False} if self._causal else {}
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask, **settings).logits
        if self._causal:
            # The state at a token predicts the next one.
            logits, labels = logits[:, :-1], labels[:, 1:]
        return {"loss": token_loss(logits, labels)}


def _with_room(recipe: Recipe, masks: int, most: int) -> Recipe:
    """Return a recipe with so many masks in its rows, or with room for an answer after them."""
    if recipe.attention == "causal":
        return recipe.model_copy(update={"max_tokens": max(2, recipe.max_tokens - most - 1)})
    template = list(recipe.row_template)
    first = template.index(recipe.answer_token or "")
    own = [token for token in template if token != recipe.answer_token]
    tokens = [recipe.answer_token or ""] * masks
    return recipe.model_copy(update={"row_template": (*own[:first], *tokens, *own[first:])})


def _labelled(
    ids: list[int], slots: list[int], pieces: list[int], closing: int | None
) -> tuple[list[int], list[int]]:
    """Return a row with its labels."""
    if slots:
        labels = [IGNORED] * len(ids)
        for slot, piece in zip(slots, pieces, strict=True):
            labels[slot] = piece
        return ids, labels
    answer = pieces if closing is None else [*pieces, closing]
    return [*ids, *answer], [*[IGNORED] * len(ids), *answer]
