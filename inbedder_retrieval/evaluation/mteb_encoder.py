"""Models of this package for mteb 2.x: the question is chosen by the task.

`register_model()` puts a model into mteb's registry, so that `mteb.get_model` finds it by name:

    import mteb
    from inbedder_retrieval.evaluation.mteb_encoder import register_model

    model = mteb.get_model(register_model())
    mteb.evaluate(model, mteb.get_tasks(tasks=["Banking77Classification.v2"]))

`MtebEncoder` follows mteb's `EncoderProtocol`. A task that has no question, here or among those
given, is run in the general view: what mteb itself prompts with is written for queries, in the
imperative, and is no question about a text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.checkpoint import DEFAULT_MODEL
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.errors import MissingExtraError
from inbedder_retrieval.views import GENERAL, View

__all__ = ["QUESTIONS", "MtebEncoder", "register_model"]

ORGANIZATION = "inbedder"

TOPIC = "What is the topic?"
SENTIMENT = "Is the opinion positive or negative?"
# Written for this project. A task may be named with a version (`.v2`), which asks the same.
QUESTIONS: dict[str, str] = {
    "AmazonCounterfactualClassification": "Did it really happen?",
    "AmazonPolarityClassification": SENTIMENT,
    "AmazonReviewsClassification": "How content is the customer?",
    "ArXivHierarchicalClusteringP2P": "What is the field of research?",
    "ArXivHierarchicalClusteringS2S": "What is the field of research?",
    "Banking77Classification": "What does the customer need?",
    "BiorxivClusteringP2P": "What is the field of research?",
    "BiorxivClusteringS2S": "What is the field of research?",
    "EmotionClassification": "How does the writer feel?",
    "ImdbClassification": SENTIMENT,
    "MTOPDomainClassification": TOPIC,
    "MTOPIntentClassification": "What does the user want?",
    "MassiveIntentClassification": "What does the user want?",
    "MassiveScenarioClassification": TOPIC,
    "MedrxivClusteringP2P": "What is the field of medicine?",
    "MedrxivClusteringS2S": "What is the field of medicine?",
    "RedditClustering": "Which forum is it from?",
    "RedditClusteringP2P": "Which forum is it from?",
    "StackExchangeClustering": "Which site is it asked on?",
    "StackExchangeClusteringP2P": "Which site is it asked on?",
    "ToxicConversationsClassification": "Is it an insult?",
    "TweetSentimentExtractionClassification": "How does the writer feel?",
    "TwentyNewsgroupsClustering": TOPIC,
}


class MtebEncoder:
    """An embedder as mteb runs it.

    Args:
        questions: the question of a task by its name, with or without a version; None takes the
            general view. They come before those of `QUESTIONS`.

    Attributes:
        mteb_model_meta: what mteb records of the model.
    """

    def __init__(
        self, embedder: Embedder, questions: Mapping[str, str | None] | None = None
    ) -> None:
        self._embedder = embedder
        self._questions = {**QUESTIONS, **(questions or {})}
        self.mteb_model_meta = _meta(embedder, self._questions)

    def question(self, task: str) -> str | None:
        """Return what is asked of a task's texts; None is the general view."""
        bare = task.partition(".v")[0]
        return self._questions[task] if task in self._questions else self._questions.get(bare)

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> NDArray[np.float32]:
        """Embed the texts of mteb's batches under the task's question: unit vectors (N, H).

        What else mteb hands over, such as a batch size, is not needed: batches are planned here.
        """
        texts = [text for batch in inputs for text in batch["text"]]
        question = self.question(task_metadata.name)
        view = GENERAL if question is None else View("task", question)
        return self._embedder.embed(texts, view)[view.name]

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosines of all pairs: a tensor (N, M)."""
        return import_module("mteb.similarity_functions").cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosines of vectors in the same place: a tensor (N,)."""
        return import_module("mteb.similarity_functions").pairwise_cos_sim(embeddings1, embeddings2)


def register_model(
    model: str | Path = DEFAULT_MODEL, questions: Mapping[str, str | None] | None = None
) -> str:
    """Put a model into mteb's registry and return the name that `mteb.get_model` finds it by.

    Raises:
        CheckpointError: there is no such model.
        MissingExtraError: mteb is not installed.
    """
    registry = _mteb("mteb.models.model_implementations").MODEL_REGISTRY
    encoder = MtebEncoder(Embedder(model), questions)

    def load(name: str, revision: str | None = None, **kwargs: Any) -> MtebEncoder:
        return encoder

    meta = encoder.mteb_model_meta.model_copy(update={"loader": load})
    encoder.mteb_model_meta = meta
    registry[meta.name] = meta
    return str(meta.name)


def _meta(embedder: Embedder, questions: Mapping[str, str | None]) -> Any:
    name = Path(embedder.name).name
    return _mteb("mteb").models.ModelMeta(
        loader=None,
        name=f"{ORGANIZATION}/{name}",
        # Results are kept by it, so that another model's are never taken for this one's.
        revision=embedder.fingerprint,
        release_date=None,
        languages=["eng-Latn"] if embedder.name == DEFAULT_MODEL else None,
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=None,
        embed_dim=embedder.dimension,
        license=None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=["ONNX" if embedder.runtime.backend == "onnx" else "PyTorch"],
        similarity_fn_name="cosine",
        use_instructions=True,
        training_datasets=None,
        # Likewise: a task's result under another question is another one.
        experiment_kwargs={
            "inbedder_retrieval": metadata.version("inbedder-retrieval"),
            "questions": blake2b(
                json.dumps(questions, sort_keys=True).encode(), digest_size=8
            ).hexdigest(),
        },
    )


def _mteb(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError("running mteb", "mteb") from error
