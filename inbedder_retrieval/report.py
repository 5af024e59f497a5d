"""Report: one HTML file with a map of the corpus for each view, and its clusters, to look through.

The file needs no network and loads nothing: styles, script and data are in it, and a content
security policy forbids the rest. Texts reach the page as JSON in which no character can end the
script element, and the script sets them as text, never as markup. The page itself is
`data/report.html`, `.css` and `.js`.
"""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.clusters import NOISE, Cluster, Clusters
from inbedder_retrieval.corpus import Corpus
from inbedder_retrieval.crosstab import cross
from inbedder_retrieval.errors import InputError
from inbedder_retrieval.palette import COLOURS, NOISE_COLOUR

__all__ = ["MAX_DRAWN", "report_html", "write_report"]

# A browser draws so many points at once, and the file stays below some 40 MB.
MAX_DRAWN = 100_000
MAX_CHARACTERS = 1_000
WORDS = 5
# A 16-bit place is finer than a pixel.
FINEST = 65_535


def write_report(
    path: str | Path,
    corpus: Corpus,
    clusters: Sequence[Clusters],
    maps: Mapping[str, NDArray[np.float32]],
    *,
    title: str = "Clusters",
    seed: int = 0,
) -> None:
    """Write the page of `report_html` to a file: all of it, or none."""
    page = report_html(corpus, clusters, maps, title=title, seed=seed)
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(page, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def report_html(
    corpus: Corpus,
    clusters: Sequence[Clusters],
    maps: Mapping[str, NDArray[np.float32]],
    *,
    title: str = "Clusters",
    seed: int = 0,
) -> str:
    """Return the page for some views that were clustered.

    Of more than 100,000 documents a sample is drawn; clusters and cross tables count all. A text is
    cut after 1,000 characters.

    Args:
        clusters: those of each view, in the order of the page's switch.
        maps: places (N, 2), 0 to 1, of the corpus's documents, by view name (see `layout`).
        seed: of the sample.

    Raises:
        InputError: no view is given, one has no map, or its clusters are of other documents.
    """
    documents = corpus.documents
    for found in clusters:
        if maps.get(found.view) is None or maps[found.view].shape != (len(documents), 2):
            raise InputError(
                f"view {found.view!r} has no map of {len(documents)} places; make one with layout"
            )
        if missing := [one.id for one in documents if one.id not in found.labels]:
            raise InputError(
                f"the clusters of {found.view!r} lack document {missing[0]!r}; cluster the same "
                "corpus that is drawn"
            )
    if not clusters:
        raise InputError("a report needs the clusters of one view at least")
    drawn = np.arange(len(documents))
    if len(drawn) > MAX_DRAWN:
        drawn = np.sort(np.random.default_rng(seed).choice(drawn, MAX_DRAWN, replace=False))
    vocabulary: dict[str, int] = {}
    data = {
        "total": len(documents),
        "ids": [documents[k].id for k in drawn],
        "texts": [_clipped(documents[k].text) for k in drawn],
        "views": [_view(one, corpus, maps[one.view], drawn, vocabulary) for one in clusters],
        "vocabulary": vocabulary,
        "crosses": [_crossed(a, b, clusters) for b in range(len(clusters)) for a in range(b)],
        "palette": COLOURS,
        "noise": NOISE_COLOUR,
    }
    data["vocabulary"] = list(vocabulary)
    parts = {
        name: files("inbedder_retrieval").joinpath("data", f"report.{name}").read_text("utf-8")
        for name in ("html", "css", "js")
    }
    return Template(parts["html"]).substitute(
        title=html.escape(title), css=parts["css"], script=parts["js"], data=_safe_json(data)
    )


def _view(
    found: Clusters,
    corpus: Corpus,
    places: NDArray[np.float32],
    drawn: NDArray[np.int64],
    vocabulary: dict[str, int],
) -> dict[str, Any]:
    words = corpus.words(found.view)
    labels = [found.labels[corpus.documents[k].id] for k in drawn]
    for k in drawn:
        for word, _ in words[k][:WORDS]:
            vocabulary.setdefault(word, len(vocabulary))
    return {
        "name": found.view,
        "question": found.instruction,
        "clusters": [
            {"id": one.id, "name": one.name, "size": one.size, "more": _more(one)}
            for one in found.clusters
        ],
        "noise": sum(label == NOISE for label in found.labels.values()),
        "labels": _packed(np.array(labels), "<i2"),
        "x": _packed(np.clip(places[drawn, 0], 0, 1) * FINEST, "<u2"),
        "y": _packed(np.clip(places[drawn, 1], 0, 1) * FINEST, "<u2"),
        "words": [[vocabulary[word] for word, _ in words[k][:WORDS]] for k in drawn],
    }


def _more(found: Cluster) -> str:
    """Return the words of a cluster that are not in its name."""
    named = found.name.split(", ")
    words = dict.fromkeys(word.word for word in [*found.words, *found.typical])
    return ", ".join([word for word in words if word not in named][:WORDS])


def _crossed(a: int, b: int, clusters: Sequence[Clusters]) -> dict[str, Any]:
    table = cross(clusters[a], clusters[b])
    return {
        "a": a,
        "b": b,
        "rows": table.row_ids,
        "columns": table.column_ids,
        "counts": table.counts,
        "times": [[round(value, 2) for value in row] for row in table.times],
        "deviations": [[round(value, 1) for value in row] for row in table.deviations],
    }


def _packed(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.round(values).astype(kind).tobytes()).decode("ascii")


def _clipped(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1].rstrip() + "\u2026"


def _safe_json(data: object) -> str:
    """Write JSON that can stand within a script element, whatever is in it.

    Only `<` begins what ends the element or opens a comment (HTML standard, 4.12.1.3); `&` and `>`
    are written alike for parsers that are not HTML's.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
