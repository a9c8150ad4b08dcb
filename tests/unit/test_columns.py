"""Columns of texts keep every row's text, however many distinct ones there are, in as few bytes as tell them apart."""

import numpy as np
import pytest

from worker.columns import Labels


def texts_of(labels):
    return [labels.at(row) for row in range(len(labels.codes))]


@pytest.mark.parametrize(("distinct", "width"), [(0, 1), (1, 1), (256, 1), (257, 2), (2**16, 2), (2**16 + 1, 4)])
def test_codes_are_as_wide_as_need_be(distinct, width):
    texts = [None if i == 1 else f"text {i}" for i in range(distinct)] * 2
    labels = Labels.of(texts)
    assert texts_of(labels) == texts
    assert labels.codes.dtype.itemsize == width


def test_parts_of_few_texts_make_a_whole_of_many():
    parts = [[f"text {i}" for i in range(start, start + 200)] for start in (0, 100, 250, 0)]
    joined = Labels.joined([Labels.of(part) for part in [*parts, []]])
    assert texts_of(joined) == [text for part in parts for text in part]
    assert texts_of(joined.only(np.array([700, 0, 0]))) == ["text 100", "text 0", "text 0"]
    assert joined.folded(lambda text: len(text) - 5).tolist() == [len(text) - 5 for part in parts for text in part]
    codes, names = joined.named(lambda text: None if text == "text 7" else text)
    assert [None if code < 0 else names[code] for code in codes] == [
        None if text == "text 7" else text for part in parts for text in part
    ]
