"""Pooling: states become vectors, through the recipe's head."""

from __future__ import annotations

from typing import Any, cast

import torch

from inbedder_retrieval.errors import CheckpointError
from inbedder_retrieval.recipe import Recipe

__all__ = ["Pooling"]


class Pooling(torch.nn.Module):
    """What makes views' vectors of the states of pooled columns.

    It stays in float32 whatever the model before it runs in: it is a thousandth of the work.

    Raises:
        CheckpointError: the recipe asks for a head that the model does not have.
    """

    def __init__(self, model: torch.nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.transform = _mlm_transform(model) if recipe.head == "mlm" else None

    def forward(
        self, states: torch.Tensor, pooled_segments: torch.Tensor, pool_weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the views' vectors (B, V, H), and the bare states they were made of.

        Args:
            states: (B, C, H).
            pooled_segments: (B, C); what each column belongs to.
            pool_weights: (B, V, C) float32.
        """
        states = states.to(pool_weights.dtype)
        if torch.is_autocast_enabled(states.device.type):
            # It would have products in its own precision.
            with torch.autocast(states.device.type, enabled=False):
                return self._pooled(states, pooled_segments, pool_weights)
        return self._pooled(states, pooled_segments, pool_weights)

    def _pooled(
        self, states: torch.Tensor, pooled_segments: torch.Tensor, pool_weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        pooled = pool_weights @ states
        if self.transform is None:
            return pooled, pooled
        # A view pooled from the text itself is the general view, which takes no head.
        pooled_from = torch.where(pool_weights > 0, pooled_segments[:, None, :], 0).amax(-1)
        return torch.where(pooled_from[..., None] > 0, self.transform(pooled), pooled), pooled


class _RobertaTransform(torch.nn.Module):
    """What RoBERTa's head does before the word embeddings; it has no module of its own for it."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.dense, self.layer_norm = head.dense, head.layer_norm

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer_norm(torch.nn.functional.gelu(self.dense(states)))
        return found


def _mlm_transform(model: torch.nn.Module) -> torch.nn.Module:
    """Find what a masked language model's head does before the word embeddings."""
    head = cast("Any", model)
    if hasattr(getattr(head, "cls", None), "predictions"):  # BERT
        return cast("torch.nn.Module", head.cls.predictions.transform)
    if hasattr(getattr(head, "lm_head", None), "layer_norm"):  # RoBERTa
        return _RobertaTransform(head.lm_head)
    if isinstance(getattr(head, "head", None), torch.nn.Module):  # ModernBERT
        return cast("torch.nn.Module", head.head)
    raise CheckpointError(
        f"{type(model).__name__} has no language-model head where this package looks for one "
        "(cls.predictions, lm_head, head); use a recipe with head 'none'"
    )
