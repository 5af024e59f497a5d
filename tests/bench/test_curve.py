from __future__ import annotations

import pytest

from inbedder_retrieval.bench.curve import Curve, measure_curve
from inbedder_retrieval.errors import InputError


def test_a_small_curve_has_its_points_and_ends_where_the_model_stops_reading() -> None:
    said: list[str] = []
    curve = measure_curve(most_questions=2, most_texts=150, texts=2, turns=1, progress=said.append)
    assert curve.longest == 224
    assert [point.questions for point in curve.by_questions] == [1, 2]
    assert [(point.questions, point.pieces) for point in curve.by_length] == [
        (questions, pieces) for questions in (1, 2) for pieces in (16, 32, 64, 128, 224)
    ]
    assert [point.texts for point in curve.by_texts] == [100, 150]
    # [CLS] and [SEP] for each text; the question "Which product is it about?", [SEP] and [MASK].
    assert [point.tokens for point in curve.by_length[:2]] == [2 * (18 + 8), 2 * (34 + 8)]
    points = [*curve.by_questions, *curve.by_length, *curve.by_texts]
    assert all(point.seconds > 0 and point.peak_mib > 50 for point in points)
    point = points[0]
    assert point.microseconds_per_token == pytest.approx(1e6 * point.seconds / point.tokens)
    assert len(said) == 1 + len(points)
    assert Curve.model_validate_json(curve.model_dump_json()) == curve


def test_an_axis_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        measure_curve(most_texts=0)
