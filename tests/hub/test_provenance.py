"""Where films and weights are from."""

from __future__ import annotations

from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.hub.provenance import PAPER_KEY, film_source, initial_weights, reference, trained_on
from hf_pneumo.imaging.preprocess import Preprocess
from hf_pneumo.models.config import CheckpointConfig
from hf_pneumo.models.training_record import DataRecord, TrainingRecord


def config(data: DataRecord = DataRecord(), training: TrainingRecord = TrainingRecord()) -> CheckpointConfig:  # noqa: B008
    return CheckpointConfig("test_resnet", PNEUMONIA, Preprocess(), data=data, training=training)


def test_a_collection_that_is_not_listed_is_called_by_its_name():
    assert film_source("owner/films").title == "films" and film_source("owner/films").hub_id == "owner/films"
    assert film_source("nih512").licence and film_source("nih512").cite


def test_what_the_command_read_counts_and_not_what_a_record_calls_it():
    films = trained_on(config(DataRecord(source="x"), TrainingRecord(config={"dataset": "nih512"})))
    assert films.name == "nih512" and trained_on(config(DataRecord(source="x"))).name == "x"
    assert trained_on(config()).name == "an unnamed collection"


def test_weights_of_a_file_are_what_their_digest_says():
    record = TrainingRecord(initial_weights="w.safetensors", initial_weights_sha256="ab", initial_weights_source="o/r")
    found = initial_weights(config(training=record))
    assert found.words == "w.safetensors (o/r; SHA-256 ab)" and found.base_model is None
    assert initial_weights(config()).words == "not recorded"


def test_references_are_bibtex():
    assert reference(PAPER_KEY).startswith("@")
