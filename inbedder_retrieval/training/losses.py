"""Losses: what training lowers, as functions of tensors.

Those of a prefix model, for Q questions with U different answers among them:

    words          - sum over an answer's pieces p of 1/n log P(p), P from its slot's logits
    alignment      cross-entropy from softmax(cos(t, A) / T) to softmax(cos(h, A) / T)
                   + c (1 - cos(h, t)), h the slot's bare state
    distillation   1 - cos(g, b), g the text's general vector
    contrast       cross-entropy from softmax(cos(t, t') / T) to softmax(cos(z, z') / C), over every
                   other slot of the batch; z its vector, through the head

A (U, H) are the teacher's embeddings of the batch's answers, t the one of a question's own answer,
and b the teacher's embedding of the text. Contrast is supervised contrastive learning (Khosla et
al. 2020, arXiv 2004.11362) with the teacher's view of answers in place of labels. Every function
returns a mean, over questions or texts, and computes it in float32, also under autocast.
"""

from __future__ import annotations

import torch
from torch.nn.functional import cosine_similarity, cross_entropy, log_softmax, normalize

__all__ = ["alignment_loss", "contrast_loss", "distillation_loss", "token_loss", "words_loss"]

# What a label is called that no loss is taken of: transformers' convention.
IGNORED = -100


def words_loss(logits: torch.Tensor, pieces: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy to answers as bags of word pieces.

    Args:
        logits: (Q, vocabulary).
        pieces: (Q, P) an answer's pieces, padded.
        weights: (Q, P) the share of each, zero for padding; each row's sum is one.
    """
    found = log_softmax(logits.float(), dim=-1).gather(1, pieces)
    return -(found * weights).sum(1).mean()


def alignment_loss(
    states: torch.Tensor,
    answers: torch.Tensor,
    own: torch.Tensor,
    *,
    temperature: float,
    cosine_weight: float,
) -> torch.Tensor:
    """Return how far states are from the teacher's embeddings of their answers.

    Args:
        states: (Q, H).
        answers: (U, H) embeddings of the different answers of the batch.
        own: (Q,) which of them is each question's.
    """
    states, answers = normalize(states.float(), dim=-1), normalize(answers.float(), dim=-1)
    wanted = answers[own]
    with torch.autocast(states.device.type, enabled=False):
        target = torch.softmax(wanted @ answers.T / temperature, dim=-1)
        shared = cross_entropy(states @ answers.T / temperature, target)
    return shared + cosine_weight * (1 - (states * wanted).sum(-1)).mean()


def distillation_loss(general: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return how far general vectors (B, H) point from the teacher's."""
    return (1 - cosine_similarity(general.float(), teacher.float(), dim=-1)).mean()


def contrast_loss(
    vectors: torch.Tensor,
    answers: torch.Tensor,
    own: torch.Tensor,
    *,
    temperature: float,
    contrast_temperature: float,
) -> torch.Tensor:
    """Return how far slots are from being as alike as their answers.

    Args:
        vectors: (Q, H) of the slots, through the head.
        answers, own: as in `alignment_loss`.
        temperature: of the answers' cosines.
        contrast_temperature: of the vectors'.
    """
    if len(own) < 3:
        # With one other slot there is nothing to tell apart.
        return vectors.sum() * 0.0
    vectors, answers = normalize(vectors.float(), dim=-1), normalize(answers.float(), dim=-1)
    itself = torch.eye(len(own), dtype=torch.bool, device=own.device)
    with torch.autocast(vectors.device.type, enabled=False):
        alike, near = answers @ answers.T / temperature, vectors @ vectors.T / contrast_temperature
    wanted = alike[own][:, own].masked_fill(itself, -torch.inf)
    found = near.masked_fill(itself, -torch.inf)
    shares = log_softmax(found, dim=-1).masked_fill(itself, 0.0)
    return -(torch.softmax(wanted, dim=-1) * shares).sum(-1).mean()


def token_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of labels (B, S) under logits (B, S, vocabulary).

    The label -100 stands where no loss is taken.
    """
    return cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
