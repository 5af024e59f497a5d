from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import v_measure_score
from threadpoolctl import threadpool_limits

from inbedder_retrieval import Embedder, View
from inbedder_retrieval.errors import InputError, ViewError
from inbedder_retrieval.evaluation.clusters import Protocol
from inbedder_retrieval.evaluation.contenders import Contender, Questions, Vectors, of_embedder
from inbedder_retrieval.evaluation.measure import evaluate, score_task
from inbedder_retrieval.evaluation.rows import Judged
from inbedder_retrieval.evaluation.scores import EvalReport
from inbedder_retrieval.evaluation.tasks import Task, demo_task
from tests.evaluation.made import made

ONE = Protocol(seeds=1)
X, Y, XY = [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]


def test_triplets_are_the_harmonic_mean_of_the_rates_of_their_aspects() -> None:
    contender = made({"x": X, "y": Y, "between": XY})
    rows = [
        Judged(("x", "between", "y"), "Why?", "cause"),
        Judged(("x", "y", "between"), "Why?", "cause"),
        Judged(("y", "between", "x"), "Who?", "person"),
        Judged(("x", "y", "y"), "Who?", "person"),
        Judged(("x", "y", "y"), "Who?", "person"),
        Judged(("x", "y", "y"), "Who?", "person"),
    ]
    score, _ = score_task(Task("t", "triplets", rows, "here"), contender, ONE)
    assert score.parts == {"cause": 50, "person": 25}
    assert score.value == pytest.approx(100 * 2 / (1 / 0.5 + 1 / 0.25))


def test_a_conditional_similarity_is_asked_under_its_condition() -> None:
    contender = made({("a", "one"): X, ("b", "one"): Y, ("a", "two"): X, ("b", "two"): X, "c": XY})
    rows = [
        Judged(("a", "b"), "one", score=1),
        Judged(("a", "c"), "two", score=2),
        Judged(("a", "b"), "two", score=3),
    ]
    task = Task("t", "csts", rows, "here")
    assert score_task(task, contender, ONE)[0].value == pytest.approx(100)


def test_similarity_is_the_rank_correlation_of_cosines(packaged: Embedder) -> None:
    texts = ["my phone is broken", "I want a refund", "so happy!", "the lamp is late", "a cat"]
    pairs = [(a, b) for a in texts for b in texts if a < b]
    vectors = {text: packaged.embed([text], View("v", "Why?"))["v"][0] for text in texts}
    cosines = [float(vectors[a] @ vectors[b]) for a, b in pairs]
    given = [float(len(a + b) % 4) for a, b in pairs]
    rows = [Judged(pair, "Why?", score=score) for pair, score in zip(pairs, given, strict=True)]
    contender = of_embedder(packaged, "packaged")[0]
    score, _ = score_task(Task("t", "csts", rows, "here"), contender, ONE)
    assert score.value == pytest.approx(100 * spearmanr(cosines, given).statistic)


def test_retrieval_ranks_every_text_of_the_file_for_every_query() -> None:
    contender = made({"q": X, "near": [0.9, 0.1], "far": Y, "middle": XY, "r": Y})
    rows = [
        Judged(("far", "q"), score=2),
        Judged(("near",)),
        Judged(("middle", "q"), score=1),
        Judged(("near", "q"), score=0),
        Judged(("far", "r"), score=1),
    ]
    score, _ = score_task(Task("t", "retrieval", rows, "here"), contender, ONE)
    # For q: near (0), middle (1), far (2); for r far comes first.
    gain = (1 / math.log2(3) + 2 / math.log2(4)) / (2 + 1 / math.log2(3))
    assert score.value == pytest.approx(100 * (gain + 1) / 2)
    assert score.parts == {
        "MAP": pytest.approx(100 * ((1 / 2 + 2 / 3) / 2 + 1) / 2),
        "recall@10": 100,
        "MRR": pytest.approx(100 * (1 / 2 + 1) / 2),
    }


def test_texts_under_other_instructions_or_none_are_there_to_be_found() -> None:
    contender = made({"q": X, "r": X, "near": [0.9, 0.1], "far": Y, "middle": XY})
    rows = [
        Judged(("far", "q"), "Why?", score=1),
        Judged(("middle", "r"), "How?", score=1),
        Judged(("near",)),
    ]
    score, _ = score_task(Task("t", "retrieval", rows, "here"), contender, ONE)
    # Near, middle, far: the third for one, the second for the other.
    assert score.parts["MRR"] == pytest.approx(100 * (1 / 3 + 1 / 2) / 2)


def test_clusters_of_every_aspect_are_set_against_every_label(packaged: Embedder) -> None:
    task = demo_task()
    contender = of_embedder(packaged, "packaged")[0]
    score, confusions = score_task(task, contender, Protocol(seeds=2))
    values: dict[str, list[float]] = {}
    for aspect, rows in task.aspects.items():
        question = rows[0].instruction
        assert question is not None
        # In the same company: one rounding of int8 may part other clusters.
        vectors = contender.ask([row.texts[0] for row in rows], [question] * len(rows))
        with threadpool_limits(1):
            fits = [
                MiniBatchKMeans(5, batch_size=500, n_init="auto", random_state=seed)
                .fit(vectors)
                .labels_
                for seed in range(2)
            ]
        for other, others in task.aspects.items():
            labels = [row.label for row in others]
            found = [100 * v_measure_score(labels, fit) for fit in fits]
            assert score.across[aspect][other] == pytest.approx(np.mean(found), abs=0.5)
            if other == aspect:
                values[aspect] = found
    assert score.parts == pytest.approx({a: np.mean(v) for a, v in values.items()}, abs=0.5)
    harmonic = [3 / sum(1 / values[aspect][seed] for aspect in values) for seed in range(2)]
    assert score.value == pytest.approx(np.mean(harmonic), abs=0.5)
    assert score.spread == pytest.approx(np.std(harmonic), abs=0.5)
    assert score.single == pytest.approx(harmonic[0], abs=0.5)
    assert score.parts["product"] > score.across["product"]["feeling"] + 30
    assert [found.aspect for found in confusions] == ["product", "feeling", "need"]
    for picture in confusions:
        assert np.sum(picture.counts, axis=1).tolist() == [75] * 5
        assert all(picture.words)


def report_of(*contenders: Contender, tasks: list[Task]) -> EvalReport:
    return evaluate("made", "nothing", contenders, tasks, protocol=ONE)


def similarity(name: str = "sts") -> Task:
    rows = [Judged(("x", "y"), score=0), Judged(("x", "between"), score=1)]
    return Task(name, "sts", rows, "here", ["here, line 3: it is broken"])


def test_what_asks_nothing_is_scored_once_a_model() -> None:
    known = {"x": X, "y": Y, "between": XY}
    contenders = [
        made(known, name="m"),
        made(known, name="m, no question", asks=False),
        made(known, name="other"),
    ]
    report = report_of(*contenders, tasks=[similarity()])
    assert [score.contender for score in report.scores] == ["m, no question", "other"]
    assert report.score("sts", "m") is None
    [task] = report.tasks
    assert (task.rows, task.instructions, task.bad) == (2, 0, ["here, line 3: it is broken"])
    assert EvalReport.model_validate_json(report.model_dump_json()) == report


def test_instruction_awareness_is_the_average_of_the_papers_three() -> None:
    contender = made({"x": X, "y": Y, "between": XY})
    conditional = [Judged(("x", "y"), "q", score=0), Judged(("x", "between"), "q", score=1)]
    triplets = [Judged(("x", "between", "y"), "q"), Judged(("x", "y", "between"), "q")]
    clusters = [Judged(("x",), "q", label="1"), Judged(("y",), "q", label="2")] * 2
    tasks = [
        Task("instructstsb", "csts", conditional, "here"),
        Task("intentemotion", "triplets", triplets, "here"),
    ]
    assert report_of(contender, tasks=tasks).awareness == {}
    report = report_of(contender, tasks=[*tasks, Task("nyt", "clustering", clusters, "here")])
    assert report.awareness == {"made": pytest.approx((100 + 50 + 100) / 3)}


def test_what_a_contender_cannot_do_is_said_and_left_out() -> None:
    def refuse(texts: object, questions: Questions) -> Vectors:
        raise ViewError("it has no general view")

    able = made({"x": X, "y": Y, "between": XY})
    report = report_of(able, Contender("unable", "unable", False, refuse), tasks=[similarity()])
    assert report.missing == {"sts, unable": "it has no general view"}
    assert [score.contender for score in report.scores] == ["made"]


def test_tasks_need_names_of_their_own() -> None:
    with pytest.raises(InputError, match="sts, sts"):
        report_of(made({}), tasks=[similarity(), similarity()])
    with pytest.raises(InputError, match="named nothing"):
        report_of(made({}), tasks=[])
