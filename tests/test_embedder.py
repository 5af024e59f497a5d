from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import BertModel

from inbedder_retrieval import (
    GENERAL,
    CheckpointError,
    Embedder,
    InputError,
    TextError,
    View,
    ViewError,
    Views,
)
from inbedder_retrieval.backends.torch import TorchBackend
from inbedder_retrieval.demo import DEMO_VIEWS, demo_documents
from inbedder_retrieval.packing import PackedBatch
from inbedder_retrieval.recipe import Recipe
from tests.conftest import QUESTIONS
from tests.reference import plain_tokenizer, plain_vectors, unit

FEELING = View("feeling", "How does the customer feel?")
TEXTS = ["the phone", "", "my refund is late, what now?", "a" * 30, "how " * 60, "the phone"]


def test_vectors_are_unit_float32_rows_in_the_texts_order(tiny: Embedder) -> None:
    found = tiny.embed(TEXTS, QUESTIONS)
    assert list(found) == list(QUESTIONS)
    for name, vectors in found.items():
        assert vectors.shape == (6, 32)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-6)
        for text, vector in zip(TEXTS, vectors, strict=True):
            alone = tiny.embed([text], QUESTIONS)[name]
            np.testing.assert_allclose(vector, alone[0], rtol=0, atol=1e-5)


def test_an_embedder_says_what_it_is(tiny: Embedder, tiny_folder: Path) -> None:
    assert (tiny.name, tiny.dimension, tiny.recipe.name) == (str(tiny_folder.resolve()), 32, "tiny")
    assert tiny.fingerprint == Embedder(tiny_folder, backend="torch").fingerprint
    assert len(tiny.fingerprint) == 16


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(st.text("abz ?ü😀", max_size=60), min_size=1, max_size=6),
    budget=st.integers(1, 400),
    data=st.data(),
)
def test_neither_neighbours_nor_budget_nor_other_questions_change_a_vector(
    tiny: Embedder, texts: list[str], budget: int, data: st.DataObject
) -> None:
    together = tiny.embed(texts, QUESTIONS)
    order = data.draw(st.permutations(range(len(texts))))
    names = data.draw(st.permutations(list(QUESTIONS)))[:2]
    shuffled = tiny.embed(
        ["what?", *(texts[k] for k in order)],
        {name: QUESTIONS[name] for name in names},
        token_budget=budget,
    )
    for name in names:
        np.testing.assert_allclose(
            shuffled[name][1:], together[name][list(order)], rtol=0, atol=1e-5
        )


def test_the_packaged_models_views_do_not_disturb_each_other() -> None:
    embedder = Embedder(backend="torch")
    texts = [document.text for document in demo_documents()[::40]]
    together = embedder.embed(texts, DEMO_VIEWS)
    for view in DEMO_VIEWS:
        alone = embedder.embed(texts[::-1], view, token_budget=300)[view.name][::-1]
        np.testing.assert_allclose(alone, together[view.name], rtol=0, atol=1e-5)


def test_the_general_view_is_the_mean_of_all_the_texts_tokens(
    tiny: Embedder, tiny_folder: Path
) -> None:
    ids = plain_tokenizer(tiny_folder).convert_tokens_to_ids(["[CLS]", "the", "phone", "[SEP]"])
    model: Any = BertModel.from_pretrained(tiny_folder, add_pooling_layer=False)
    model.eval()
    with torch.inference_mode():
        states = model(torch.tensor([ids])).last_hidden_state[0].numpy()
    found = tiny.embed(["the phone"], [FEELING, GENERAL])["general"][0]
    np.testing.assert_allclose(found, unit(states.mean(axis=0)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "[MASK] [SEP] [CLS]",
        "the [MASK] is broken[SEP]how?[SEP][MASK]",
        "love it 😀👍🏽",
        "  the phone \n\t",
        "the\0phone",
        "\u200b\ufeff",
        "ÜBER",
        "",
        " \n",
        "the phone " * 1000,
    ],
)
def test_a_strange_text_is_embedded_as_transformers_reads_it(
    tiny: Embedder, tiny_folder: Path, text: str
) -> None:
    plain = plain_vectors(tiny_folder, [text], QUESTIONS, most=40)
    found = tiny.embed(["a neighbour", text], QUESTIONS)
    for name in QUESTIONS:
        np.testing.assert_allclose(found[name][1], unit(plain[name])[0], rtol=0, atol=1e-5)


def test_empty_texts_are_counted(tiny: Embedder) -> None:
    assert tiny.embed(["", "a", " \n\u3000", "\0"], FEELING).empty == [0, 2]


def test_a_long_text_is_cut_and_counted(tiny: Embedder) -> None:
    found = tiny.embed(["a", "phone " * 2000, "phone " * 40, "phone " * 41], QUESTIONS)
    assert found.truncated == [1, 3]
    for vectors in found.values():
        np.testing.assert_allclose(vectors[[1, 3]], vectors[[2, 2]], rtol=0, atol=1e-5)


def test_a_text_of_a_megabyte_is_cut_like_any_other(packaged: Embedder) -> None:
    text = "my phone is broken " * 55_000
    assert len(text) > 1_000_000
    found = packaged.embed([text, text[:3000]], FEELING)
    assert found.truncated == [0, 1]
    np.testing.assert_allclose(found["feeling"][0], found["feeling"][1], rtol=0, atol=1e-5)


def test_a_long_text_is_refused_where_nothing_may_be_cut(tiny: Embedder) -> None:
    with pytest.raises(TextError, match=r"text 1 is longer than tiny reads .*'phone phone"):
        tiny.embed(["a", "phone " * 41, "phone " * 2000], FEELING, on_long="error")
    assert tiny.embed(["phone " * 40], FEELING, on_long="error").truncated == []


def test_indices_count_from_the_first_text_in_every_batch(tiny: Embedder) -> None:
    texts = ["a"] * 1100
    texts[3] = texts[700] = ""
    texts[5] = texts[1030] = "phone " * 41
    found = tiny.embed(texts, GENERAL)
    assert (found.empty, found.truncated) == ([3, 700], [5, 1030])
    with pytest.raises(TextError, match="text 600 is NoneType"):
        tiny.embed([*["a"] * 600, None], GENERAL)  # type: ignore[list-item]
    with pytest.raises(TextError, match="text 600 is longer than"):
        tiny.embed([*["a"] * 600, "phone " * 41], GENERAL, on_long="error")


@pytest.mark.parametrize("wrong", [None, 5, b"a", ["a"]])
def test_a_text_that_is_no_string_is_named(tiny: Embedder, wrong: Any) -> None:
    with pytest.raises(TextError, match=f"text 1 is {type(wrong).__name__}"):
        tiny.embed(["a", wrong], FEELING)


def test_a_text_cut_inside_an_emoji_is_named(tiny: Embedder) -> None:
    with pytest.raises(TextError, match=r"text 2 holds the lone surrogate U\+D83D"):
        tiny.embed(["a", "b", "happy \ud83d"], FEELING)


def test_one_bare_string_is_no_list_of_texts(tiny: Embedder) -> None:
    with pytest.raises(TextError, match="one string was given"):
        tiny.embed("the phone", FEELING)
    with pytest.raises(TextError, match="one string was given"):
        list(tiny.embed_batches("the phone", FEELING))


def test_views_are_given_in_any_form(tiny: Embedder) -> None:
    wanted = tiny.embed(["a"], Views([FEELING]))["feeling"]
    for given_ in (FEELING, [FEELING], {FEELING.name: FEELING.instruction}, iter([FEELING])):
        assert (tiny.embed(["a"], given_)["feeling"] == wanted).all()


def test_a_question_that_does_not_fit_is_refused_before_any_text_is_read(tiny: Embedder) -> None:
    def texts() -> Iterator[str]:
        pytest.fail("a text was read")
        yield ""

    with pytest.raises(ViewError, match="'long' is 60 word pieces long"):
        tiny.embed(texts(), View("long", "how " * 60))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token_budget": 0}, "token_budget 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"on_long": "shrink"}, "on_long is 'shrink'; choose 'cut' or 'error'"),
    ],
)
def test_an_option_out_of_range_is_refused(
    tiny: Embedder, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        list(tiny.embed_batches(["a"], FEELING, **options))


def test_no_texts_give_no_rows(tiny: Embedder) -> None:
    nothing: list[str] = []
    for texts in (nothing, iter(nothing)):
        found = tiny.embed(texts, QUESTIONS)
        assert [(name, vectors.shape) for name, vectors in found.items()] == [
            (name, (0, 32)) for name in QUESTIONS
        ]
        assert found["general"].dtype == np.float32
        assert (found.truncated, found.empty) == ([], [])
    assert list(tiny.embed_batches([], FEELING)) == []


def test_a_stream_is_read_one_batch_ahead(tiny: Embedder) -> None:
    read = 0

    def stream() -> Iterator[str]:
        nonlocal read
        for text in TEXTS * 3:
            read += 1
            yield text

    whole = tiny.embed(TEXTS * 3, QUESTIONS)
    batches = tiny.embed_batches(stream(), QUESTIONS, batch_size=4)
    assert read == 0
    done = 0
    for batch in batches:
        # What is yielded, and the run that is computed meanwhile.
        assert read == min(done + 8, 18)
        for name, vectors in batch.items():
            wanted = whole[name][done : done + 4]
            np.testing.assert_allclose(vectors, wanted, rtol=0, atol=1e-5)
        assert [done + k for k in batch.truncated] == [
            k for k in whole.truncated if done <= k < done + 4
        ]
        assert [done + k for k in batch.empty] == [k for k in whole.empty if done <= k < done + 4]
        done += len(batch["general"])
    assert done == 18


def test_many_texts_are_the_same_at_once_and_as_a_stream(tiny: Embedder) -> None:
    """They are sorted by length a run at a time, and stand in the caller's order."""
    texts = [f"the phone {k} {'a ' * (k % 7)}" for k in range(2 * tiny.runtime.batch_size + 9)]
    whole = tiny.embed(iter(texts), FEELING)["feeling"]
    parts = [part["feeling"] for part in tiny.embed_batches(texts, FEELING, batch_size=100)]
    np.testing.assert_allclose(whole, np.concatenate(parts), rtol=0, atol=1e-5)
    for k in (0, 600, len(texts) - 1):
        alone = tiny.embed([texts[k]], FEELING)["feeling"][0]
        np.testing.assert_allclose(whole[k], alone, rtol=0, atol=1e-5)


def test_a_broken_text_is_named_by_its_place_in_the_stream(tiny: Embedder) -> None:
    batches = tiny.embed_batches(["a", "b", "c", "d \ud83d"], FEELING, batch_size=2)
    assert next(batches)["feeling"].shape == (2, 32)
    with pytest.raises(TextError, match="text 3 holds the lone surrogate"):
        next(batches)


def test_an_error_of_the_stream_comes_after_the_texts_before_it(tiny: Embedder) -> None:
    def stream() -> Iterator[str]:
        yield from ["a", "b", "c"]
        raise OSError("the disk is gone")

    batches = tiny.embed_batches(stream(), FEELING, batch_size=1)
    assert [next(batches)["feeling"].shape for _ in range(3)] == [(1, 32)] * 3
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)
    with pytest.raises(OSError, match="the disk is gone"):
        tiny.embed(stream(), FEELING)


def test_a_stream_may_use_the_embedder_that_reads_it(tiny: Embedder) -> None:
    def stream() -> Iterator[str]:
        for text in TEXTS:
            assert tiny.embed([text], GENERAL)["general"].shape == (1, 32)
            yield text

    found = np.concatenate(
        [part["feeling"] for part in tiny.embed_batches(stream(), FEELING, batch_size=2)]
    )
    wanted = tiny.embed(TEXTS, FEELING)["feeling"]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_an_abandoned_stream_is_read_no_further(tiny: Embedder) -> None:
    read: list[int] = []
    closed: list[bool] = []

    def stream() -> Iterator[str]:
        try:
            for k in range(1000):
                read.append(k)
                yield "the phone"
        finally:
            closed.append(True)

    for _ in tiny.embed_batches(stream(), FEELING, batch_size=3):
        break
    assert (len(read), closed) == (6, [True])
    assert tiny.embed(["a"], FEELING)["feeling"].shape == (1, 32)


def test_progress_counts_the_texts_done(tiny: Embedder) -> None:
    seen: list[int] = []
    tiny.embed(["a"] * 1030, GENERAL, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1030


def test_threads_may_share_an_embedder(packaged: Embedder) -> None:
    texts = [document.text for document in demo_documents()[:4]]
    alone = [packaged.embed([text], FEELING)["feeling"] for text in texts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: packaged.embed([text], FEELING)["feeling"], texts))
    np.testing.assert_allclose(found, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_positions": 400, "max_text_tokens": 300},
        {"question_token_type": 2},
    ],
)
def test_a_recipe_that_does_not_fit_the_models_tables_is_refused(
    tiny_folder: Path, tmp_path: Path, changes: dict[str, int]
) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
    path = folder / "inbedder.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(CheckpointError, match=next(iter(changes))):
        Embedder(folder, backend="torch")


def test_a_backend_that_does_not_exist_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(InputError, match="no backend 'abacus'; choose 'onnx' or 'torch'"):
        Embedder(tiny_folder, backend="abacus")  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_fewer_than_one_thread_is_refused(backend: Any) -> None:
    with pytest.raises(InputError, match="threads is 0; give at least 1"):
        Embedder(backend=backend, threads=0)


@pytest.mark.parametrize(
    ("changes", "texts_a_batch"),
    [({}, 1), ({"reads_from": 1}, 1), ({"reads_from": 1, "question_start": 41}, 5)],
)
def test_questions_that_are_read_once_a_batch_are_shared_by_some_texts(
    tiny_folder: Path,
    changes: dict[str, int],
    texts_a_batch: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where they fill what is usual for the backend; a budget that is given is kept.

    The room is that of six times the questions: five with their texts.
    """
    seen: list[int] = []
    run = TorchBackend.run

    def counting(self: TorchBackend, batch: PackedBatch) -> NDArray[np.float32]:
        seen.append(len(batch.rows))
        return run(self, batch)

    monkeypatch.setattr("inbedder_retrieval.backends.torch.CPU_TOKENS", 100)
    monkeypatch.setattr(TorchBackend, "run", counting)
    recipe = Recipe.load(tiny_folder).model_copy(update=changes)
    embedder = Embedder(tiny_folder, backend="torch", recipe=recipe)
    views = {f"v{k}": f"What is it about, {k}?" for k in range(12)}
    embedder.embed(["a"] * 24, views)
    assert max(seen) == texts_a_batch
    seen.clear()
    embedder.embed(["a"] * 24, views, token_budget=100)
    assert seen == [1] * 24
