"""A report: one file that holds all it shows and loads nothing."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inbedder_retrieval import Document, InputError, Views
from inbedder_retrieval.cluster import cluster
from inbedder_retrieval.corpus import Corpus
from inbedder_retrieval.mapping import layout
from inbedder_retrieval.report import report_html, write_report
from inbedder_retrieval.testing import FakeEmbedder
from tests.clustering.conftest import blobs

EVIL = "</script><script>alert(1)</script><!-- <script> &amp; \u2028 <img src=x onerror=alert(2)>"


class Elements(HTMLParser):
    """Collects elements with what they hold."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        self.found.append((tag, dict(attrs), []))

    def handle_data(self, data: str) -> None:
        """Take in text."""
        if self.found:
            self.found[-1][2].append(data)


def data_of(page: str) -> dict[str, Any]:
    [text] = [
        "".join(held) for tag, given, held in Elements(page).found if given.get("id") == "data"
    ]
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    vectors = blobs()
    documents = [Document(f"{EVIL} {k}", id=f"d{k:03d}") for k in range(len(vectors))]
    views = Views.of({"one": "What?", "other": "Why?"})
    return Corpus(documents, views, {"one": vectors, "other": vectors[::-1]}, FakeEmbedder())


@pytest.fixture(scope="module")
def page(corpus: Corpus) -> str:
    found = [cluster(corpus, name, k=3) for name in corpus.views.names]
    maps = {name: layout(corpus.of(name)) for name in corpus.views.names}
    return report_html(corpus, found, maps, title=EVIL)


def test_no_text_becomes_markup(page: str) -> None:
    elements = Elements(page).found
    assert [tag for tag, _, _ in elements].count("script") == 2
    assert not [tag for tag, _, _ in elements if tag == "img"]
    assert data_of(page)["texts"][3] == " ".join(f"{EVIL} 3".split())


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    elements = Elements(page).found
    assert not [given for _, given, _ in elements if "src" in given]
    assert [given["href"] for _, given, _ in elements if "href" in given] == ["data:,"]
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|WebSocket", page)
    [policy] = [given["content"] for _, given, _ in elements if "http-equiv" in given]
    assert str(policy).startswith("default-src 'none'")


def test_the_page_holds_the_clusters_and_places(page: str, corpus: Corpus) -> None:
    data, found = data_of(page), cluster(corpus, "other", k=3)
    view = data["views"][1]
    labels = np.frombuffer(base64.b64decode(view["labels"]), "<i2")
    assert labels.tolist() == list(found.labels.values())
    x = np.frombuffer(base64.b64decode(view["x"]), "<u2") / 65_535
    np.testing.assert_allclose(x, layout(corpus.of("other"))[:, 0], atol=1e-4)
    assert [one["name"] for one in view["clusters"]] == [one.name for one in found.clusters]
    words = [[data["vocabulary"][k] for k in row] for row in view["words"]]
    assert words[5] == [word for word, _ in corpus.words("other")[5]]
    [crossed] = data["crosses"]
    assert np.array(crossed["counts"]).sum() == 90


def test_of_too_many_documents_a_sample_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inbedder_retrieval.report.MAX_DRAWN", 25)
    vectors = blobs()
    documents = [Document(f"t{k}", id=f"d{k:03d}") for k in range(90)]
    corpus = Corpus(documents, Views.of({"q": "What?"}), {"q": vectors}, FakeEmbedder())
    data = data_of(report_html(corpus, [cluster(corpus, "q", k=3)], {"q": layout(vectors)}))
    assert len(set(data["ids"])) == len(data["views"][0]["words"]) == 25
    assert data["total"] == 90
    assert sum(one["size"] for one in data["views"][0]["clusters"]) == 90


def test_clusters_of_others_and_missing_maps_are_refused(
    corpus: Corpus, blobbed: Corpus, tmp_path: Path
) -> None:
    found, places = cluster(corpus, "one", k=3), layout(corpus.of("one"))
    with pytest.raises(InputError, match="no map of 90 places"):
        report_html(corpus, [found], {"one": places[:5]})
    with pytest.raises(InputError, match="one view at least"):
        report_html(corpus, [], {})
    fewer = found.model_copy(update={"labels": {"d000": 0}})
    with pytest.raises(InputError, match="lack document 'd001'"):
        write_report(tmp_path / "r.html", corpus, [fewer], {"one": places})
    assert list(tmp_path.iterdir()) == []
