"""Teacher: what a model that does not change makes of a training's texts and answers.

A prefix model is held to it: its slots to the embeddings of answers, its general vector to those of
texts. Each of them is embedded once, before the first step, and looked up from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray

from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.training.plan import Batch
from inbedder_retrieval.training.prefix import PrefixRows, Tensors

__all__ = ["Teacher"]

Read: TypeAlias = Callable[[NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.bool_]]]
# How many are read together.
TAUGHT = 64


class Teacher:
    """A model that does not change: it says what texts and answers mean without a question.

    A text's embedding is the mean of the last states of its tokens, those of its template included.

    Args:
        batches: those it will be asked for.
        precision: what the layers run in.
    """

    def __init__(
        self,
        model: Any,
        recipe: Recipe,
        rows: PrefixRows,
        batches: Sequence[Batch],
        device: torch.device,
        precision: str = "float32",
    ) -> None:
        self._body = model.base_model.eval().to(device)
        self._first = recipe.first_position
        self._device = device
        texts, answers = rows.shown(batches)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            self._texts = self._table(rows.texts, texts)
            self._answers = self._table(rows.answers, answers)
        # Its work is done; on a GPU its room is wanted, and others may hold it still.
        self._body.to("cpu")
        del self._body

    def __call__(self, batch: Tensors) -> Tensors:
        """Return a batch with its texts' and answers' embeddings: text_vectors, answer_vectors."""
        return {
            **batch,
            "text_vectors": self._texts[batch["text_rows"]],
            "answer_vectors": self._answers[batch["answer_rows"]],
        }

    @torch.no_grad()
    def _table(self, read: Read, numbers: NDArray[np.int64]) -> torch.Tensor:
        """Embed what has these numbers, and return a row for each number there may be."""
        # Always in the same company, so that a resumed training has the same to the last digit.
        parts = [numbers[start : start + TAUGHT] for start in range(0, len(numbers), TAUGHT)]
        found = torch.cat([self._embed(*read(part)) for part in parts])
        table = torch.zeros(int(numbers.max()) + 1, found.shape[1], device=self._device)
        table[torch.from_numpy(numbers).to(self._device)] = found
        return table

    def _embed(self, ids: NDArray[np.int64], mask: NDArray[np.bool_]) -> torch.Tensor:
        given = torch.from_numpy(ids).to(self._device)
        share = torch.from_numpy(mask).to(self._device).float()
        places = torch.arange(ids.shape[1], device=self._device) + self._first
        states = self._body(
            input_ids=given,
            attention_mask=share.long(),
            position_ids=places[None].expand_as(given),
            token_type_ids=torch.zeros_like(given),
        ).last_hidden_state
        found = (states.float() * share[..., None]).sum(1) / share.sum(1, keepdim=True)
        return cast("torch.Tensor", found)
