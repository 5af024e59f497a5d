from __future__ import annotations

from pathlib import Path

import pytest

from inbedder_retrieval.bench.peers import PEERS, Peer
from inbedder_retrieval.bench.probe import Engine, Job, load_embedder, run_job, start_up
from inbedder_retrieval.errors import InbedderError, InputError

VIEWS: dict[str, str | None] = {"feeling": "How does the customer feel?"}
MODEL = "inbedder-minilm"


def test_a_job_is_timed_in_turns_and_its_memory_told() -> None:
    job = Job(model=MODEL, engine=Engine(), texts=["a", "b c"], views=VIEWS, turns=2)
    done = run_job(job)
    assert len(done.seconds) == 2
    assert 50 < done.peak_mib < 2000
    assert done.device_mib is None


def test_a_stream_is_drawn_by_the_process_that_embeds_it() -> None:
    job = Job(model=MODEL, engine=Engine(), drawn=(600, 1, 3), views=VIEWS)
    done = run_job(job)
    assert done.seconds == []
    assert done.peak_mib > 50


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_runs_in_a_process_too(
    peer: Peer, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine two threads of a child spend their time waiting for each other.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    job = Job(
        model=str(tiny_folder),
        engine=Engine(precision="float32"),
        contender=peer.name,
        texts=["a", "b c"],
        views=VIEWS,
        batch=2,
    )
    # torch alone takes more than this package does.
    assert run_job(job).peak_mib > 150


def test_a_process_that_fails_says_why() -> None:
    job = Job(model="no-such-model", engine=Engine(), texts=["a"], views=VIEWS)
    with pytest.raises(InbedderError, match=r"measure in failed: .*no model 'no-such-model'"):
        run_job(job)
    with pytest.raises(InbedderError, match=r"measure in failed: .*no model 'no-such-model'"):
        start_up("no-such-model", Engine(), {"a": "b?"}, ["c"])


def test_first_lines_are_measured_from_the_start_of_the_process() -> None:
    found = start_up(MODEL, Engine(), {"feeling": "How?"}, ["one", "two", "three"])
    assert len(found.warm) == 2
    parts = (found.imported, found.loaded, found.first)
    assert min(*parts, *found.warm) > 0
    assert found.total > sum(parts)


@pytest.mark.parametrize("engine", [Engine(backend="tpu"), Engine(precision="int3")])
def test_an_engine_that_there_is_not_is_refused(engine: Engine) -> None:
    with pytest.raises(InputError, match="choose "):
        load_embedder(MODEL, engine)
