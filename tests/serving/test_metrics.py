"""What a node counts."""

from __future__ import annotations

import pytest

pytest.importorskip("prometheus_client")

from hf_pneumo.serving.metrics import Metrics


def test_counts_stand_by_their_label_and_in_one_registry_each():
    metrics, other = Metrics(), Metrics()
    metrics.received("PACS")
    metrics.received("PACS")
    metrics.refused("too large")
    text = {sample.name: sample.value for family in metrics.registry.collect() for sample in family.samples}
    assert text["hf_pneumo_received_total"] == 2 and text["hf_pneumo_refused_total"] == 1
    assert not any(s.value for f in other.registry.collect() for s in f.samples if s.name == "hf_pneumo_received_total")
