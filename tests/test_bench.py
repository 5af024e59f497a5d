from __future__ import annotations

from inbedder_retrieval.bench import QUESTIONS, measure, texts_of_length
from inbedder_retrieval.checkpoint import DEFAULT_MODEL, find_checkpoint


def test_texts_have_the_length_that_is_claimed_and_differ() -> None:
    tokenizer = find_checkpoint(DEFAULT_MODEL).tokenizer()
    texts = texts_of_length(tokenizer, 20, 128)
    assert {len(tokenizer.encode(text).ids) for text in texts} == {128}
    assert len(set(texts)) == 20


def test_a_small_run_reports_every_contender() -> None:
    report = measure(texts=8, repeats=1, memory_texts=16)
    assert set(report.ours) == {1, len(QUESTIONS)}
    assert {(speed.texts, speed.views) for speed in report.peers.values()} == {(1, 8)}
    assert report.cost_of_all_views == report.ours[8].seconds / report.ours[1].seconds
    assert set(report.peak_mib) == {2, 16}
    assert all(50 < peak < 2000 for peak in report.peak_mib.values())
