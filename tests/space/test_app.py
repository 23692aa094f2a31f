"""What programs get from the Space, what its parts say, and how the command starts and stops."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from hub_server import HubServer
from huggingface_hub import HfApi
from made_up import APP, NAME, free_port
from PIL import Image

from hf_pneumo.evaluation.estimate import Estimate
from hf_pneumo.evaluation.explanations.localization import LocalizationReport, MapReport, MethodMapReport, measure_maps
from hf_pneumo.models.checkpoint import Checkpoint
from hf_pneumo.models.hub_download import CheckpointError
from hf_pneumo.models.training_record import DataRecord
from hf_pneumo.reporting.checkpoint_report import Report
from hf_pneumo.serving.predictor import Predictor


@pytest.fixture(scope="module")
def client(site: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(site.url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


def ask(client: Client, film: Path, method: str = "gradcam", target: str = "") -> tuple[dict, str, str]:
    return client.predict(handle_file(film), method, target, api_name="/predict")


@pytest.mark.parametrize("kind", ["png", "deep", "dicom"])
def test_an_answer_equals_the_librarys_and_names_nobody(client, site, films, sick, kind, capfd) -> None:
    film = getattr(films, kind)
    finding, overlay, archive = ask(client, film)
    expected = Predictor(sick).predict(film)
    assert finding["verdict"] == expected.verdict == "pneumonia"
    assert finding["probability"] == pytest.approx(expected.probability, abs=1e-6)
    assert finding["scores"] == pytest.approx(expected.scores, abs=1e-6)
    assert finding["boxes"] == [[b.x, b.y, b.w, b.h, pytest.approx(b.score, abs=1e-4)] for b in expected.boxes]
    assert finding["notes"] == list(expected.notes)
    assert Image.open(overlay).size == films.shape[::-1]
    with zipfile.ZipFile(archive) as found:
        assert sorted(found.namelist()) == ["heatmap.npy", "manifest.json", "overlay.png"]
        manifest = json.loads(found.read("manifest.json"))
        heatmap = np.load(io.BytesIO(found.read("heatmap.npy")))
        told = b"".join(found.read(name) for name in found.namelist())
    np.testing.assert_allclose(heatmap, expected.explanation.heatmap, atol=1e-4)
    assert manifest == finding["manifest"]
    assert manifest["image"]["bits"] == {"png": 8, "deep": 16, "dicom": 12}[kind]
    assert manifest["explanation"]["method"] == "gradcam" and manifest["model"]["name"] == "always-sick"
    printed = "".join(capfd.readouterr())
    for text in (json.dumps(finding), overlay, archive, told.decode("latin-1"), printed):
        assert NAME not in text and "DOE" not in text


def test_a_bad_file_gets_one_sentence_and_the_next_film_an_answer(client, films, capfd) -> None:
    with pytest.raises(AppError, match="not an X-ray image") as error:
        ask(client, films.bad)
    printed = "".join(capfd.readouterr())
    assert NAME not in str(error.value) and NAME not in printed and "Traceback" not in printed
    assert ask(client, films.png)[0]["verdict"] == "pneumonia"


def test_a_wrong_question_names_the_right_ones(client, films) -> None:
    with pytest.raises(AppError, match="'NORMAL', 'PNEUMONIA'"):
        ask(client, films.png, target="FRACTURE")
    with pytest.raises(AppError, match="gradcam"):
        ask(client, films.png, method="rollout")  # a convolutional network has no attention
    assert ask(client, films.png, "layercam", "NORMAL")[0]["manifest"]["explanation"]["target"] == "NORMAL"


def test_a_map_is_refined_as_asked(client, films, sick) -> None:
    finding, _, archive = client.predict(handle_file(films.png), "gradcam", "", "smooth+lungs", api_name="/predict")
    told = finding["manifest"]["explanation"]
    assert told["smoothing"] == "flips+shifts" and told["within_lungs"] is True
    expected = Predictor(sick).predict(films.png, smoothing="flips+shifts", within_lungs=True)
    with zipfile.ZipFile(archive) as found:
        heatmap = np.load(io.BytesIO(found.read("heatmap.npy")))
    np.testing.assert_allclose(heatmap, expected.explanation.heatmap, atol=1e-4)
    with pytest.raises(AppError, match="crop"):
        client.predict(handle_file(films.png), "gradcam", "", "crop", api_name="/predict")


def test_a_page_of_nothing_is_not_judged_unless_asked_for(client, tmp_path) -> None:
    white = tmp_path / "page.png"
    Image.new("L", (300, 400), 255).save(white)
    told, overlay, archive = client.predict(handle_file(white), "gradcam", "", "plain", False, api_name="/predict")
    assert told["status"] == "not judged" and "nothing to see" in told["reason"]
    assert told["verdict"] is told["probability"] is overlay is archive is None
    assert not told["scores"] and not told["sets"] and not told["boxes"]
    assert told["manifest"]["reason"]["reason"] == "no content" and "verdict" not in told["manifest"]
    told, overlay, archive = client.predict(handle_file(white), "gradcam", "", "plain", True, api_name="/predict")
    assert told["status"] == "judged" and told["verdict"] == "pneumonia" and overlay and archive
    assert told["judged_anyway"] == told["manifest"]["judged_anyway"]["sentence"]


def test_what_is_not_judged_is_said_without_a_figure_and_may_be_asked_for(sick, tmp_path) -> None:
    import html_finding
    import predict
    from model_registry import Desk

    white = tmp_path / "page.png"
    Image.new("L", (300, 400), 255).save(white)
    desk = Desk(Predictor(sick))
    read = predict.judge(str(white), desk, "gradcam", "", 0.5, False)
    text = html_finding.not_judged(read.outcome)
    assert "Not judged" in text and "No content." in text and "%" not in text
    asked = predict.judge(str(white), desk, "gradcam", "", 0.5, False, anyway=True, held=read)
    text = html_finding.verdict(asked.outcome, desk.checkpoint)
    assert asked.outcome.film is read.outcome.film and asked.anyway
    assert "Judged because you asked for it." in text and "Pneumonia" in text and "hp-possible" not in text


def test_the_endpoints_are_public_and_typed(client) -> None:
    described = client.view_api(return_format="dict", print_info=False)
    assert list(described["named_endpoints"]) == ["/predict", "/compare", "/batch", "/models"]
    assert not described["unnamed_endpoints"]
    endpoint = described["named_endpoints"]["/predict"]
    names = [p["parameter_name"] for p in endpoint["parameters"]]
    assert names == ["film", "method", "target", "refinement", "judge_anyway", "model"]
    assert [p["python_type"]["type"] for p in endpoint["returns"][1:]] == ["filepath", "filepath"]
    assert "not for diagnosis" in endpoint["description"]


def test_menus_offer_what_the_network_can_answer(sick, many, transformer) -> None:
    from model_registry import Desk

    small, fourteen, vit = (Desk(Predictor(folder)) for folder in (sick, many, transformer))
    assert "cam" not in small.methods and "cam" in fourteen.methods  # the first has a layer between pooling and head
    assert "rollout" not in small.methods and {"rollout", "relevance", "legrad"} <= set(vit.quick)
    assert small.target_choices[0] == ("PNEUMONIA", "PNEUMONIA")
    assert fourteen.target_choices[0] == ("Leading finding", "Leading finding")


def test_many_labels_are_listed_by_score(many, films) -> None:
    import html_finding

    predictor = Predictor(many)
    finding = predictor.predict(films.png)
    text = html_finding.verdict(finding, predictor.checkpoint)
    assert "1 of 13 above threshold" in text
    assert text.index("Edema") < text.index("Fracture") < text.index("Pneumothorax")
    assert text.count("data-choice=") == 14 and text.count('aria-pressed="true"') == 1


def test_what_a_checkpoint_says_of_itself_is_shown_and_escaped(sick) -> None:
    import html_model

    def of(checkpoint: Checkpoint, data: DataRecord) -> Checkpoint:
        return replace(checkpoint, config=replace(checkpoint.config, data=data))

    checkpoint = Predictor(sick).checkpoint
    assert "trained on 1,234 films of made-up films, official split" in html_model.trained_on(checkpoint)
    hostile = of(checkpoint, DataRecord(source="<script>alert(1)</script>"))
    assert "<script>" not in html_model.trained_on_note(hostile) + html_model.about(hostile, Report())
    assert "does not say on what it was trained" in html_model.trained_on(of(checkpoint, DataRecord()))


def test_maps_stand_beside_their_baselines(sick) -> None:
    import html_model

    truths = np.ones((1, 4, 4), bool)
    figures = measure_maps(truths.astype(float), truths, ["a"], resamples=2)

    def row(value: float) -> MapReport:
        return replace(figures, films=66, pointing=Estimate(value, value - 0.1, value + 0.1))

    found = LocalizationReport(baselines={"centre": row(0.46)}, methods={"gradcam": MethodMapReport(**vars(row(0.38)))})
    text = html_model.about(Predictor(sick).checkpoint, Report(localizations={"localization-adults": found}))
    assert text.index("always the centre") < text.index("0.460") < text.index("Grad-CAM") < text.index("0.380")
    assert "0.280 to 0.480" in text and "66 films" in text


@pytest.mark.parametrize(
    ("share", "words"), [(0.0004, "< 0.1 %"), (0.034, "3.4 %"), (0.5, "50 %"), (0.997, "99.7 %"), (1.0, "> 99.9 %")]
)
def test_percentages_for_people(share: float, words: str) -> None:
    import html_finding

    assert html_finding.percent(share) == words


def test_boxes_follow_their_controls_without_a_second_look(sick, films) -> None:
    import predict
    from model_registry import Desk

    desk = Desk(Predictor(sick))
    first = predict.judge(str(films.png), desk, "gradcam", "", 0.9, False)
    second = predict.judge(str(films.png), desk, "gradcam", "", 0.2, False, held=first)
    assert second.outcome.explanation is first.outcome.explanation
    area = [sum(box.w * box.h for box in read.outcome.boxes) for read in (first, second)]
    assert 0 < area[0] < area[1]
    refined = predict.judge(str(films.png), desk, "gradcam", "", 0.2, False, refinement="lungs", held=second)
    assert refined.outcome.film is first.outcome.film and refined.outcome.explanation.within_lungs


def test_nothing_found_is_no_alarm(many, films) -> None:
    import html_finding

    finding = Predictor(many).predict(films.png)
    verdicts = dict.fromkeys(finding.verdicts, "positive")
    text = html_finding.rows(replace(finding, verdicts=verdicts), finding.scores, "No Finding", with_threshold=True)
    assert text.count("hp-row-normal") == 1 and text.count("hp-row-positive") == len(verdicts) - 1
    assert 'hp-row-normal" data-choice="No Finding"' in text


def test_without_a_checkpoint_one_sentence_says_what_to_do(tmp_path, monkeypatch) -> None:
    import app
    import model_registry

    with pytest.raises(SystemExit, match="^error: .*nowhere.* is neither a folder"):
        app.main(["--model", str(tmp_path / "nowhere")])
    monkeypatch.setattr(model_registry, "SHIPPED", tmp_path / "checkpoints")
    with pytest.raises(CheckpointError, match="--model"):
        model_registry.Shelf(model_registry.places())


def test_examples_are_phantoms_and_films_of_the_hub_with_their_source(hub: HubServer, tmp_path) -> None:
    import datasets
    import samples

    owner = HfApi(token="hf_owner_write_token")
    owner.create_repo("owner/films", repo_type="dataset")
    images = [Image.fromarray(np.full((40, 50), 10 * n, dtype=np.uint8)) for n in range(12)]
    columns = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["NORMAL", "PNEUMONIA"])}
    rows = {"image": images, "label": [0] * 7 + [1] * 5}
    table = datasets.Dataset.from_dict(rows, features=datasets.Features(columns))
    table.to_parquet(tmp_path / "test.parquet")
    owner.upload_file(
        path_or_fileobj=tmp_path / "test.parquet", path_in_repo="data/test-00000-of-00001.parquet",
        repo_id="owner/films", repo_type="dataset",
    )  # fmt: skip
    found = list(samples.hub_films("owner/films"))
    assert [label for label, _ in found] == [0, 0, 1, 1]
    assert [Image.open(io.BytesIO(film)).getpixel((0, 0)) for _, film in found] == [0, 10, 70, 80]
    here = samples.Samples()  # the data set itself is not on this Hub
    assert [sample.caption.split(",")[0] for sample in here.ready(wait=60)] == ["Phantom"] * 4
    assert "CC BY 4.0" in samples.ATTRIBUTION


def test_the_command_serves_and_leaves_nothing_behind(sick, films, tmp_path) -> None:
    env = os.environ | {"HF_PNEUMO_MODEL": str(sick), "GRADIO_TEMP_DIR": str(tmp_path / "uploads")}
    env.pop("PYTHONUNBUFFERED", None)  # the address must come through a pipe without it
    port = free_port()
    command = [sys.executable, str(APP / "app.py"), "--port", str(port)]
    with subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            line = next(line for line in server.stdout if "http://" in line)
            client = Client(line.split()[-1], verbose=False, download_files=tmp_path / "downloads")
            assert ask(client, films.dicom)[0]["verdict"] == "pneumonia"
            assert any(path.is_file() for path in (tmp_path / "uploads").rglob("*"))
        finally:
            server.send_signal(signal.SIGTERM)
            printed = server.stdout.read()
    left = list((tmp_path / "uploads").rglob("*"))
    assert not [path for path in left if path.is_file() or path.name.startswith("hf_pneumo-")]
    assert "Traceback" not in printed and NAME not in printed


def test_the_shipped_checkpoint_judges_a_phantom(films, tmp_path) -> None:
    import predict
    from model_registry import DEFAULT, SHIPPED, Shelf, places

    if not (SHIPPED / DEFAULT / "model.safetensors").is_file():
        pytest.skip("no checkpoint is shipped")
    shelf = Shelf(places())
    assert shelf.default == DEFAULT
    read = predict.judge(str(films.png), shelf.open(), "gradcam", "", 0.5, False)
    assert 0 < read.outcome.probability < 1 and not read.outcome.explanation.constant
