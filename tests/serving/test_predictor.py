"""A film in, a finding out: the same whichever way it comes, in its own pixels, and no bad file stops a good one."""

from __future__ import annotations

import io
import json
import zipfile
from importlib.metadata import version

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from hf_pneumo.data.labels import AETIOLOGY, MULTILABEL, PNEUMONIA
from hf_pneumo.evaluation.classification.ood import fit_density
from hf_pneumo.imaging.lungs import UNSURE, find_lungs
from hf_pneumo.imaging.phantom import make_phantom, phantoms
from hf_pneumo.imaging.preprocess import CROPS, Preprocess
from hf_pneumo.imaging.reader import Xray, XrayReadError
from hf_pneumo.models.checkpoint import load, save
from hf_pneumo.models.classifier import build
from hf_pneumo.models.config import CheckpointConfig, OperatingPoint
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.models.prediction_sets import PredictionSets
from hf_pneumo.models.training_record import DataRecord
from hf_pneumo.serving.export import film_image, manifest, overlay_image, write_archive
from hf_pneumo.serving.findings import findings_above
from hf_pneumo.serving.outcome import NotJudged
from hf_pneumo.serving.predictor import Predictor


def checkpoint(folder, labels=PNEUMONIA, crop=None, fitted_on="made-up/val", **point):
    torch.manual_seed(0)
    spec = Preprocess(size=(64, 64), crop=crop)
    config = CheckpointConfig(
        "test_resnet",
        labels,
        spec,
        operating_point=OperatingPoint(fitted_on=fitted_on, **point),
        data=DataRecord(source="x"),
    )
    return load(save(folder, build("test_resnet", len(labels.names)), config))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory) -> Predictor:
    return Predictor(checkpoint(tmp_path_factory.mktemp("c")))


@pytest.fixture(scope="module")
def film() -> Xray:
    return Xray(make_phantom(3, size=150, opacities=1).pixels[:, :120], "PNG", 8)


@pytest.fixture
def folder(tmp_path, film):
    """Two films of different sizes, and two files that are none."""
    Image.fromarray(film.gray8).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    Image.fromarray(make_phantom(5, size=180).film.gray8).save(tmp_path / "c.tif")
    (tmp_path / "d.dcm").write_bytes(b"DICM" * 50)
    return tmp_path


def test_the_map_and_its_logits_come_from_one_pass(predictor, film):
    with_map = predictor.predict(film)
    without = predictor.predict(film, method=None)
    assert with_map.explanation.heatmap.shape == film.pixels.shape == (150, 120)
    assert with_map.explanation.target == "PNEUMONIA"
    assert with_map.probability == pytest.approx(without.probability, abs=1e-6)
    assert without.explanation is None and without.boxes == ()
    assert sum(with_map.probabilities.values()) == pytest.approx(1)


def test_bytes_path_and_film_are_one(predictor, film, tmp_path):
    Image.fromarray(film.gray8).save(tmp_path / "f.png")
    found = [predictor.predict(s) for s in (film, tmp_path / "f.png", (tmp_path / "f.png").read_bytes())]
    assert len({f.probability for f in found}) == 1


def test_files_come_back_in_order_with_findings_or_reasons(predictor, folder):
    paths = sorted(folder.iterdir())
    found = list(predictor.predict_files(paths, method="gradcam"))
    assert [p for p, _ in found] == paths
    kinds = [type(f).__name__ for _, f in found]
    assert kinds == ["Finding", "XrayReadError", "Finding", "XrayReadError"]
    alone = predictor.predict(paths[2])
    assert found[2][1].probability == pytest.approx(alone.probability, abs=1e-6)
    assert np.allclose(found[2][1].explanation.heatmap, alone.explanation.heatmap, atol=1e-4)


@pytest.mark.parametrize(
    ("threshold", "band", "verdict"),
    [(0.001, (), "pneumonia"), (0.999, (), "normal"), (0.5, ((0.0, 1.0),), "uncertain")],
)
def test_verdict_and_boxes_follow_the_operating_point(tmp_path, film, threshold, band, verdict):
    found = Predictor(checkpoint(tmp_path, thresholds=(threshold,), abstain=band)).predict(film)
    assert found.verdict == verdict
    assert bool(found.boxes) == (verdict != "normal" and not found.explanation.constant)
    for box in found.boxes:
        assert 0 <= box.x < box.x + box.w <= 120 and 0 <= box.y < box.y + box.h <= 150


def test_temperature_softens_and_keeps_the_order(tmp_path, film):
    sharp = Predictor(checkpoint(tmp_path / "a", temperature=0.1)).predict(film, method=None).probability
    soft = Predictor(checkpoint(tmp_path / "b", temperature=10.0)).predict(film, method=None).probability
    assert abs(soft - 0.5) < abs(sharp - 0.5) and (soft - 0.5) * (sharp - 0.5) > 0


def test_outside_the_crop_nothing_is_hot(tmp_path, film):
    found = Predictor(checkpoint(tmp_path, crop=CROPS["lung"], thresholds=(0.0,))).predict(film)
    heat = found.explanation.heatmap
    assert not heat[: round(0.15 * 150)].any() and not heat[:, : round(0.2 * 120)].any()


def test_a_map_is_held_to_the_films_own_lungs(tmp_path, film):
    predictor = Predictor(checkpoint(tmp_path, thresholds=(0.0,)))
    plain, held = (predictor.predict(film, method="eigencam", within_lungs=kept) for kept in (False, True))
    lungs = find_lungs(film.gray8).mask(*film.pixels.shape)
    far = ndimage.distance_transform_edt(~lungs) > 150 / 14 + 2
    assert far.any() and plain.explanation.heatmap[far].any() and not held.explanation.heatmap[far].any()
    assert held.explanation.heatmap.max() == 1 and held.scores == plain.scores
    assert held.explanation.within_lungs and not plain.explanation.within_lungs
    smooth = predictor.predict(film, smoothing="flips+shifts")
    told = manifest(smooth, predictor.checkpoint)["explanation"]
    assert told["smoothing"] == "flips+shifts" and told["within_lungs"] is False


def test_an_adaptive_crop_is_each_films_own_and_says_when_there_is_none(tmp_path, film):
    predictor = Predictor(checkpoint(tmp_path, crop=CROPS["adaptive"], thresholds=(0.0,)))
    whole = Xray(np.random.default_rng(0).random((90, 80), np.float32), "PNG", 8)
    found, unsure = predictor.judge([film, whole], method="eigencam", judge_anyway=True)
    top, bottom, left, right = find_lungs(film.gray8).box
    outside = found.explanation.heatmap.copy()
    outside[round(top * 150) : round(bottom * 150), round(left * 120) : round(right * 120)] = 0
    assert found.explanation.heatmap.any() and not outside.any() and not found.notes
    assert unsure.explanation.heatmap.shape == (90, 80) and unsure.notes == (UNSURE,)
    said = manifest(found, predictor.checkpoint)
    assert said["image"]["crop"] == [top, bottom, left, right] and said["model"]["preprocess"]["crop"] == "adaptive"


def test_several_labels_are_judged_each(tmp_path, film):
    thresholds = tuple(0.0 if name == "Edema" else 1.0 for name in MULTILABEL.names)
    found = Predictor(checkpoint(tmp_path, MULTILABEL, thresholds=thresholds)).predict(film, target="Edema")
    assert found.verdict == "edema" and found.explanation.target == "Edema"
    assert list(found.scores) == list(MULTILABEL.names)


def test_the_label_for_nothing_found_never_leads(tmp_path, film):
    """The likeliest label is No Finding; what stands first, and is explained, is the likeliest finding."""
    made = checkpoint(tmp_path, MULTILABEL, thresholds=(0.5,) * len(MULTILABEL.names))
    with torch.no_grad():
        bias = made.network.get_classifier().bias
        bias.fill_(-8.0)
        bias[MULTILABEL.names.index("No Finding")], bias[MULTILABEL.names.index("Fracture")] = 8.0, -4.0
    found = Predictor(made).predict(film)
    assert max(found.scores, key=found.scores.get) == "No Finding" and found.verdict == "normal"
    assert found.leading == "Fracture" and found.probability == found.scores["Fracture"]
    assert found.explanation.target == "Fracture"


def test_the_stronger_verdict_leads(tmp_path, film):
    """An uncertain finding stands before a likelier one that is called negative."""
    thresholds = tuple(0.0 if name == "Edema" else 1.0 for name in MULTILABEL.names)
    found = Predictor(checkpoint(tmp_path, MULTILABEL, thresholds=thresholds)).predict(film)
    assert found.leading == "Edema" and found.explanation.target == "Edema"


def test_a_cause_is_explained_where_the_finding_is_no_label(tmp_path, film):
    found = Predictor(checkpoint(tmp_path, AETIOLOGY)).predict(film)
    causes = {name: p for name, p in found.probabilities.items() if name != "NORMAL"}
    assert found.leading == "PNEUMONIA" and found.explanation.target == max(causes, key=causes.get)
    assert found.probability == pytest.approx(sum(causes.values()))


def test_a_turned_film_is_not_judged_unless_asked_for(tmp_path):
    films = np.stack([np.rint(p.pixels * 255).astype(np.uint8) for p in phantoms(200, size=64)])
    folder = checkpoint(tmp_path, thresholds=(0.0,)).path
    fit_density(films[:80], films[80:]).save(folder)
    predictor = Predictor(load(folder))
    upright, inverted = (Xray(p / np.float32(255), "PNG", 8) for p in (films[90], 255 - films[90]))
    fine, refused = predictor.judge([upright, inverted])
    assert fine.status == "judged" and fine.suspect is None and fine.verdict == "pneumonia" and not fine.notes
    assert isinstance(refused, NotJudged) and refused.status == "not judged" and not hasattr(refused, "probability")
    assert refused.refusal.reason == "inverted or turned" and "inverted" in refused.reason
    asked = predictor.predict(inverted, judge_anyway=True)
    assert asked.overridden == refused.refusal and asked.verdict == "pneumonia"
    assert asked.suspect == "inverted, with dark bones" and bool(asked.boxes) != asked.explanation.constant
    said = manifest(asked, predictor.checkpoint)
    assert said["status"] == "judged" and said["judged_anyway"]["reason"] == "inverted or turned"
    assert Predictor(predictor.checkpoint, judge_anyway=True).predict(inverted, method=None).status == "judged"


def test_a_film_that_is_not_judged_leaves_a_manifest_alone(predictor, tmp_path):
    white = Xray(np.ones((90, 80), np.float32), "PNG", 8)
    outcome = predictor.predict(white)
    with zipfile.ZipFile(write_archive(tmp_path / "a.zip", outcome, predictor.checkpoint)) as archive:
        assert archive.namelist() == ["manifest.json"]
        said = json.loads(archive.read("manifest.json"))
    assert said["status"] == "not judged" and said["reason"]["reason"] == "no content"
    assert not {"verdict", "probability", "scores", "probabilities", "prediction_sets", "explanation"} & set(said)
    assert findings_above(predictor, white) == []


def test_pictures_that_are_not_judged_do_not_disturb_the_others(predictor, film):
    white = Xray(np.ones((90, 80), np.float32), "PNG", 8)
    outcomes = predictor.judge([white, film, white, film], target=["NORMAL", "NORMAL", None, "PNEUMONIA"])
    assert [o.status for o in outcomes] == ["not judged", "judged"] * 2
    assert [outcomes[i].explanation.target for i in (1, 3)] == ["NORMAL", "PNEUMONIA"]


def test_a_label_of_too_few_films_gets_no_verdict(tmp_path, film):
    """Edema stands on 9 positive films, Fracture on 10: the first has neither verdict, nor band, nor set, nor boxes."""
    names = MULTILABEL.names
    films = {"Edema": (9, 100), "Fracture": (10, 10), "No Finding": (50, 50)}
    sets = PredictionSets(0.95, ((1.0, 1.0),) * len(names), "made-up/val")
    point = {
        "thresholds": (0.0,) * len(names), "abstain": ((0.0, 0.0),) * len(names), "sets": sets,
        "evidence": tuple(films.get(name, (3, 100)) for name in names),
    }  # fmt: skip
    predictor = Predictor(checkpoint(tmp_path, MULTILABEL, **point))
    found = predictor.predict(film, target="Edema")
    judged = {"Fracture", "No Finding"}
    assert {name for name, verdict in found.verdicts.items() if verdict != "not judged"} == judged
    assert set(found.sets) == set(found.thresholds) == set(found.abstain) == judged and set(found.scores) == set(names)
    assert found.verdict == "fracture" and found.leading == "Fracture" and not found.boxes
    assert found.verdicts["No Finding"] == "negative"  # it is above its threshold, and a fracture was found
    assert any("too few films" in note and "Edema" in note for note in found.notes)
    said = manifest(found, predictor.checkpoint)["scores"]["Edema"]
    assert said["threshold"] is None and said["verdict"] == "not judged" and said["abstain"] == []


def test_what_was_not_judged_is_not_called_normal(tmp_path, film):
    point = {"thresholds": (1.0,) * len(MULTILABEL.names), "evidence": ((10, 10), *((3, 9),) * 12, (10, 10))}
    found = Predictor(checkpoint(tmp_path, MULTILABEL, **point)).predict(film, method=None)
    assert found.verdict == "none positive" and found.verdicts["Support Devices"] == "negative"
    rare = Predictor(checkpoint(tmp_path / "b", MULTILABEL, **point | {"evidence": ((3, 9),) * 14}))
    assert rare.predict(film, method=None).verdict == "uncertain"


def test_a_config_without_counts_judges_every_label(tmp_path, film):
    found = Predictor(checkpoint(tmp_path, MULTILABEL, thresholds=(1.0,) * 14)).predict(film, method=None)
    assert found.verdict == "normal" and set(found.verdicts.values()) == {"negative"}


def test_wrong_method_and_target_are_named(predictor, film):
    with pytest.raises(ValueError, match="gradcam"):
        predictor.predict(film, method="magic")
    with pytest.raises(ValueError, match="NORMAL"):
        predictor.predict(film, target="Fracture")
    with pytest.raises(XrayReadError):
        predictor.predict(b"nothing")


def test_archive_holds_overlay_map_and_manifest(predictor, film, tmp_path):
    finding = predictor.predict(film, boxes_when_normal=True)
    path = write_archive(tmp_path / "f.zip", finding, predictor.checkpoint)
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["heatmap.npy", "manifest.json", "overlay.png"]
        heat = np.load(io.BytesIO(archive.read("heatmap.npy")))
        said = json.loads(archive.read("manifest.json"))
        overlay = Image.open(io.BytesIO(archive.read("overlay.png")))
    assert heat.dtype == np.float32 and np.array_equal(heat, finding.explanation.heatmap)
    assert overlay.size == (120, 150)
    assert said == json.loads(json.dumps(manifest(finding, predictor.checkpoint)))
    assert said["explanation"]["method"] == "gradcam" and said["explanation"]["layer"] == finding.explanation.layer
    assert said["model"]["preprocess"]["size"] == [64, 64] and len(said["model"]["weights_sha256"]) == 64
    assert said["versions"]["torch"] == version("torch")


def test_overlay_changes_only_what_is_hot(predictor, film):
    finding = predictor.predict(film)
    plain, over = (np.asarray(x, dtype=int) for x in (film_image(finding), overlay_image(finding, draw_boxes=False)))
    cold = finding.explanation.heatmap == 0
    assert (plain[cold] == over[cold]).all()
    assert (plain != over).any() or finding.explanation.constant


def test_a_network_that_answers_no_number_judges_nothing(tmp_path, film):
    broken = checkpoint(tmp_path)
    with torch.no_grad():
        next(broken.network.parameters()).fill_(float("nan"))
    with pytest.raises(CheckpointError, match="its weights are damaged"):
        Predictor(broken).predict(film, method=None, judge_anyway=True)
    with pytest.raises(ValueError, match="NaN weights"):
        Predictor(broken).predict(film, method="gradcam", judge_anyway=True)
