"""Where mteb is installed, a tiny local task of each kind that asks for something of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from inbedder_retrieval import GENERAL, Embedder, View
from inbedder_retrieval.errors import MissingExtraError
from inbedder_retrieval.evaluation.mteb_encoder import QUESTIONS, MtebEncoder, register_model

FIRST = ["the phone is broken", "where is my refund", "love the head", "how does it feel"]
SECOND = ["the phone", "a refund", "what customer", "it does feel"]
SCORES = [1.0, 0.5, 0.0, 0.25]


def local_tasks(mteb: Any) -> list[Any]:
    datasets = pytest.importorskip("datasets")
    metadata: dict[str, Any] = {
        "description": "made for a test",
        "dataset": {"path": "none", "revision": "1"},
        "reference": None,
        "category": "t2t",
        "modalities": ["text"],
        "eval_splits": ["test"],
        "eval_langs": ["eng-Latn"],
        "date": None,
        "domains": None,
        "task_subtypes": None,
        "license": None,
        "annotations_creators": None,
        "dialect": None,
        "sample_creation": None,
        "bibtex_citation": "",
    }

    def table(**columns: object) -> Any:
        return datasets.DatasetDict(test=datasets.Dataset.from_dict(columns))

    def load(columns: dict[str, object]) -> Any:
        def load_data(self: Any, **kwargs: object) -> None:
            self.dataset, self.data_loaded = table(**columns), True

        return load_data

    pairs = {"sentence1": FIRST, "sentence2": SECOND, "score": SCORES}
    groups = {"sentences": [FIRST + SECOND], "labels": [[0, 1, 2, 3] * 2]}
    made = []
    for kind, base, score, columns in (
        ("STS", "AbsTaskSTS", "cosine_spearman", pairs),
        ("Clustering", "AbsTaskClusteringLegacy", "v_measure", groups),
    ):
        own = mteb.TaskMetadata(type=kind, name=f"Tiny{kind}", main_score=score, **metadata)
        body = {"metadata": own, "load_data": load({**columns}), "min_score": 0, "max_score": 1}
        made.append(type(f"Tiny{kind}", (getattr(mteb.abstasks, base),), body)())
    return made


def test_mteb_runs_a_model_of_ours_by_name_under_the_tasks_question(tiny_folder: Path) -> None:
    mteb = pytest.importorskip("mteb")
    question = "What does the customer need?"
    name = register_model(tiny_folder, {"TinySTS": question})
    model = mteb.get_model(name)
    assert isinstance(model, mteb.models.EncoderProtocol)
    similarity, clustering = mteb.evaluate(
        model, local_tasks(mteb), cache=None, show_progress_bar=False
    )
    embedder = Embedder(tiny_folder)
    first, second = (embedder.embed(texts, View("v", question))["v"] for texts in (FIRST, SECOND))
    expected = spearmanr(np.sum(first * second, axis=1), SCORES).statistic
    [found] = similarity.scores["test"]
    assert found["main_score"] == pytest.approx(expected)
    assert clustering.scores["test"][0]["main_score"] >= 0


def test_results_under_other_questions_are_kept_apart(tiny: Embedder) -> None:
    pytest.importorskip("mteb")
    one, other, again = (
        MtebEncoder(tiny, {"TinySTS": question}).mteb_model_meta.experiment_kwargs
        for question in ("Why?", None, "Why?")
    )
    assert one == again != other


def test_a_tasks_question_is_found_with_or_without_its_version(tiny: Embedder) -> None:
    pytest.importorskip("mteb")
    encoder = MtebEncoder(tiny, {"EmotionClassification": None, "Mine.v3": "Why?"})
    assert encoder.question("Banking77Classification") == "What does the customer need?"
    assert encoder.question("Banking77Classification.v2") == "What does the customer need?"
    assert encoder.question("EmotionClassification.v2") is None
    assert encoder.question("Mine.v3") == "Why?"
    assert encoder.question("Mine") is None


def test_batches_become_vectors_in_their_order(tiny: Embedder) -> None:
    mteb = pytest.importorskip("mteb")
    encoder = MtebEncoder(tiny, {"Mine": "Why?"})
    for task, view in (("Mine", View("v", "Why?")), ("Other", GENERAL)):
        [known] = [one for one in local_tasks(mteb) if one.metadata.name == "TinySTS"]
        found = encoder.encode(
            [{"text": FIRST[:3]}, {"text": FIRST[3:]}],
            task_metadata=known.metadata.model_copy(update={"name": task}),
            hf_split="test",
            hf_subset="default",
            batch_size=2,
        )
        np.testing.assert_allclose(found, tiny.embed(FIRST, view)[view.name], atol=1e-6)
    cosines = encoder.similarity(found, found).numpy()
    np.testing.assert_allclose(cosines, found @ found.T, atol=1e-5)
    np.testing.assert_allclose(encoder.similarity_pairwise(found, found).numpy(), 1, atol=1e-5)


def test_the_tasks_that_have_a_question_are_mtebs() -> None:
    mteb = pytest.importorskip("mteb")
    names = {task.metadata.name for task in mteb.get_tasks()}
    assert {name for name in QUESTIONS if not {name, f"{name}.v2"} & names} == set()


def test_without_mteb_the_extra_is_named(tiny: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(MissingExtraError, match=r"inbedder-retrieval\[mteb\]"):
        MtebEncoder(tiny)
