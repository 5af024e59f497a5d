"""Clusters: what grouping a view came to, kept as JSON, and other texts put into the groups.

Similarity is the cosine of vectors less the corpus's mean: all answers to one question have much in
common, and what they have in common tells no group from another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from inbedder_retrieval.documents import AnswerWord
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.embeddings import TextEmbedder
from inbedder_retrieval.errors import InputError, ModelMismatch
from inbedder_retrieval.views import View

__all__ = ["NOISE", "Assignment", "Cluster", "Clusters", "Method", "centred"]

Method = Literal["kmeans", "hdbscan"]
# The label of documents that belong to no cluster.
NOISE = -1
NOISE_NAME = "noise"


class Cluster(BaseModel):
    """One group of documents.

    Attributes:
        id: 0 for the largest cluster, and so on.
        name: a few of its words.
        words: what sets its mean apart from the corpus's, read through the answer head.
        typical: the TF-IDF of its documents' own answer words; a weight is a share of the sum.
        share: of all documents.
        cohesion: the mean similarity of its documents to its centre, -1 to 1.
        floor: the least similarity at which a text belongs to it; -1 where all do.
        central: the ids of the documents that are most similar to its centre.
        doubtful: the ids of those that are hardly more similar to it than to the next cluster.
    """

    model_config = ConfigDict(frozen=True)

    id: int
    name: str
    words: list[AnswerWord]
    typical: list[AnswerWord]
    size: int
    share: float
    cohesion: float
    floor: float = -1.0
    central: list[str]
    doubtful: list[str]


class Assignment(BaseModel):
    """Where a text belongs.

    Attributes:
        cluster: its cluster's id, or -1 for noise.
        name: its cluster's name.
        similarity: to the nearest cluster's centre, -1 to 1.
        margin: how much more similar it is to that centre than to the next one; small is doubtful.
    """

    model_config = ConfigDict(frozen=True)

    cluster: int
    name: str
    similarity: float
    margin: float


class Clusters(BaseModel):
    """The groups that the documents of one view fall into.

    Attributes:
        view, instruction: the view, and its question.
        model, fingerprint: what made the vectors.
        method, seed: how they were grouped; the same again gives the same groups.
        silhouette: the mean silhouette of a sample, -1 to 1: how well clusters are told apart.
            None where there are fewer than two.
        searched: the silhouette of each number of clusters that was tried.
        mean: of all vectors (H,).
        centres: unit vectors (K, H) less the mean.
        labels: the cluster of each document by its id; -1 is noise.
        hashes: of each document's text, so that one that was edited since is known.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    view: str
    instruction: str | None
    model: str
    fingerprint: str
    method: Method
    seed: int
    silhouette: float | None
    searched: dict[int, float] = {}
    clusters: list[Cluster]
    labels: dict[str, int]
    hashes: dict[str, str] = {}
    mean: list[float]
    centres: list[list[float]]

    @property
    def noise(self) -> list[str]:
        """The ids of documents that belong to no cluster."""
        return [document for document, label in self.labels.items() if label == NOISE]

    @property
    def alternatives(self) -> list[int]:
        """Other numbers of clusters that stand out: silhouettes above both neighbours', best first.

        The highest silhouette is often that of a coarse split; these are the finer ones to try.
        """
        tried = sorted(self.searched)
        heights = [-math.inf, *(self.searched[k] for k in tried), -math.inf]
        peaks = [
            k
            for k, before, here, after in zip(
                tried, heights, heights[1:], heights[2:], strict=False
            )
            if before < here > after and k != len(self.clusters)
        ]
        return sorted(peaks, key=lambda k: -self.searched[k])

    def name(self, cluster: int) -> str:
        """Return a cluster's name; `noise` for -1."""
        return NOISE_NAME if cluster == NOISE else self[cluster].name

    def __getitem__(self, cluster: int) -> Cluster:
        """Return a cluster by its id.

        Raises:
            InputError: there is none of this id.
        """
        if not 0 <= cluster < len(self.clusters):
            raise InputError(
                f"there is no cluster {cluster}; they are numbered 0 to {len(self.clusters) - 1}"
            )
        return self.clusters[cluster]

    def words(self, cluster: int, top: int = 5) -> list[AnswerWord]:
        """Return the words that set a cluster apart; in a general view, its documents' terms.

        Raises:
            InputError: there is no such cluster.
        """
        found = self[cluster]
        return (found.words or found.typical)[:top]

    def assign(
        self, texts: Iterable[str], embedder: TextEmbedder | None = None
    ) -> list[Assignment]:
        """Put other texts into the clusters, each into the one it is most similar to.

        Args:
            embedder: the model the clusters were made with; None loads it.

        Raises:
            ModelMismatch: the embedder is another model.
            TextError: a text cannot be embedded.
        """
        embedder = Embedder(self.model) if embedder is None else embedder
        if embedder.fingerprint != self.fingerprint:
            raise ModelMismatch(
                f"these clusters were made with {self.model} ({self.fingerprint}), and "
                f"{embedder.name} ({embedder.fingerprint}) is another model; give that one, or "
                "cluster anew"
            )
        view = View(self.view, self.instruction)
        return self.assign_vectors(embedder.embed(texts, view)[view.name])

    def assign_vectors(self, vectors: ArrayLike) -> list[Assignment]:
        """Put vectors (N, H) of the view into the clusters, likewise.

        Raises:
            InputError: the array has another shape, or numbers that are not finite.
        """
        found = np.asarray(vectors, dtype=np.float32)
        mean, centres = np.array(self.mean, np.float32), np.array(self.centres, np.float32)
        if found.ndim != 2 or found.shape[1] != len(mean) or not np.isfinite(found).all():
            raise InputError(
                f"vectors to assign have the shape {found.shape}; wanted (N, {len(mean)}) of "
                "finite numbers"
            )
        similarity = centred(found, mean) @ centres.T
        order = np.argsort(-similarity, axis=1, kind="stable")
        assignments: list[Assignment] = []
        for row, ranked in zip(similarity, order, strict=True):
            best = int(ranked[0])
            second = float(row[ranked[1]]) if len(ranked) > 1 else -1.0
            floor = self.clusters[best].floor
            # A cosine may come out a little under -1.
            label = best if floor <= -1 or row[best] >= floor else NOISE
            assignments.append(
                Assignment(
                    cluster=label,
                    name=self.name(label),
                    similarity=float(row[best]),
                    margin=float(row[best]) - second,
                )
            )
        return assignments

    def save(self, path: str | Path) -> None:
        """Write a JSON file that `load` reads."""
        text = json.dumps(self.model_dump(mode="json"), ensure_ascii=False, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Clusters:
        """Read what `save` wrote.

        Raises:
            InputError: the file cannot be read, or holds no clusters.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the clusters in {path} cannot be read: {error}") from error
        try:
            found = cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise InputError(
                f"{path} holds no clusters ({place}: {first['msg']}); give a file that "
                "'inbedder cluster --save' or Clusters.save wrote"
            ) from error
        if len(found.centres) != len(found.clusters) or any(
            len(row) != len(found.mean) for row in found.centres
        ):
            raise InputError(f"{path} holds clusters without their centres; save them anew")
        return found


def centred(vectors: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors (N, H) less a mean, as unit vectors; zeros where nothing is left.

    What is left of equal vectors is the error of rounding, and no direction.
    """
    found = vectors - mean
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    lengths[lengths < 1e-4] = np.inf
    found /= lengths
    return found
