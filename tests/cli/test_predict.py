"""The columns of the answers."""

from __future__ import annotations

from hf_pneumo.cli.predict import columns, each_label
from hf_pneumo.data.labels import MULTILABEL, PNEUMONIA


def test_several_labels_have_a_column_each_and_two_have_none():
    assert tuple(each_label(PNEUMONIA)) == () and tuple(each_label(MULTILABEL)) == MULTILABEL.names
    plain, filed = columns(("A",), filing=False), columns(("A",), filing=True)
    assert plain[-1] == filed[-1] == "A" and set(filed) - set(plain) == {"filing"}
