"""What programs are shown to copy does what it says; the endpoints beside predict; the address and the history."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from hf_pneumo.serving.predictor import Predictor


@pytest.fixture(scope="module")
def client(site: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(site.url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


@pytest.fixture
def beside_a_film(films: SimpleNamespace, tmp_path: Path) -> Path:
    """A folder in which film.png lies."""
    shutil.copy(films.png, tmp_path / "film.png")
    return tmp_path


def test_the_python_snippet_runs(site, beside_a_film, sick, films) -> None:
    from snippets import python

    text = python(site.url.rstrip("/"), "always-sick", "layercam")
    run = subprocess.run([sys.executable, "-c", text], cwd=beside_a_film, capture_output=True, text=True, check=True)
    *_, status, verdict, probability = run.stdout.split()
    assert (status, verdict) == ("judged", "pneumonia")
    assert float(probability) == pytest.approx(Predictor(sick).predict(films.png).probability, abs=1e-6)


def test_the_shell_snippet_runs(site, beside_a_film) -> None:
    from snippets import shell

    if not shutil.which("curl"):
        pytest.skip("there is no curl")
    text = shell(site.url.rstrip("/"), "fourteen", "gradcam")
    run = subprocess.run(["sh", "-c", text], cwd=beside_a_film, capture_output=True, text=True, check=True)
    assert "event: complete" in run.stdout
    finding = json.loads(run.stdout.split("data: ")[-1])[0]
    assert finding["status"] == "judged" and finding["verdict"] == "edema"
    assert finding["manifest"]["model"]["name"] == "fourteen"


def test_the_mcp_settings_lead_to_the_tools(site, beside_a_film) -> None:
    mcp = pytest.importorskip("mcp")
    import asyncio

    from mcp.client.streamable_http import streamablehttp_client
    from snippets import mcp as settings

    address = json.loads(settings(site.url.rstrip("/")))["mcpServers"]["chest-films"]["url"]

    async def tools() -> dict:
        async with streamablehttp_client(address) as (read, write, _), mcp.ClientSession(read, write) as session:
            await session.initialize()
            return {tool.name.rpartition("_")[2]: tool for tool in (await session.list_tools()).tools}

    listed = asyncio.run(tools())
    assert {"predict", "compare", "batch", "models"} <= listed.keys()
    asked = listed["predict"].inputSchema["properties"]
    assert asked["model"]["enum"] == ["always-sick", "fourteen"]
    assert all(own["description"].rstrip().endswith((".", ")", "'")) for own in asked.values()), asked


def test_a_program_chooses_the_model(client, films) -> None:
    film = handle_file(films.png)
    assert client.predict(film, model="fourteen", api_name="/predict")[0]["verdict"] == "edema"
    assert client.predict(film, api_name="/predict")[0]["verdict"] == "pneumonia"
    with pytest.raises(AppError, match="fourteen"):
        client.predict(film, model="nowhere", api_name="/predict")


def test_another_method_is_not_replaced_by_the_pages_own(client, films) -> None:
    told = client.predict(handle_file(films.png), "layercam", api_name="/predict")[0]["manifest"]["explanation"]
    assert told["method"] == "layercam" and told["smoothing"] == "none" and not told["within_lungs"]


def test_models_are_listed_with_the_first_one_first(client) -> None:
    first, second = client.predict(api_name="/models")
    assert (first["name"], second["name"]) == ("always-sick", "fourteen")
    assert first["labels"] == ["NORMAL", "PNEUMONIA"] and first["findings"] == ["PNEUMONIA"]
    assert first["data"] == "made-up films" and first["population"] is None


def test_models_and_methods_are_compared_on_one_film(client, films) -> None:
    asked = ["gradcam", "layercam", "cam"]
    told = client.predict(handle_file(films.png), ["always-sick", "fourteen"], asked, api_name="/compare")
    cells = {(cell["model"], cell["method"]): cell for cell in told["cells"]}
    assert len(cells) == 6 and told["judged_anyway"] is None
    assert cells["always-sick", "cam"]["why"] and cells["always-sick", "cam"]["peak"] is None
    own, other = cells["always-sick", "gradcam"], cells["fourteen", "gradcam"]
    assert (own["verdict"], other["verdict"]) == ("pneumonia", "edema")
    height, width = films.shape
    peaks = [cell["peak"] for cell in cells.values() if cell["peak"]]  # a map may be constant
    assert peaks and all(0 <= x < width and 0 <= y < height for x, y in peaks)
    assert set(told["agreement"]) == {"always-sick", "fourteen"} and told["between_models"]["cam"] is None
    assert told["agreement"]["always-sick"]["Grad-CAM"]["Grad-CAM"] == pytest.approx(1)


def test_a_batch_gives_rows_and_files(client, films, tmp_path) -> None:
    white = tmp_path / "page.png"
    Image.new("L", (300, 400), 255).save(white)
    told, table, overlays, dicom = client.predict(
        [handle_file(path) for path in (films.png, films.bad, white)], "always-sick", api_name="/batch"
    )
    assert told["model"] == "always-sick" and dicom is None
    assert [row["status"] for row in told["rows"]] == ["judged", "error", "not judged"]
    assert [row["probability"] is None for row in told["rows"]] == [False, True, True]
    rows = list(csv.DictReader(io.StringIO(Path(table).read_text(encoding="utf-8"))))
    assert [row["verdict"] for row in rows] == ["pneumonia", "", ""]
    with zipfile.ZipFile(overlays) as packed:
        assert packed.namelist() == [f"{films.png.stem}.png"]
    with pytest.raises(AppError, match="no film among"):
        note = tmp_path / "notes.txt"
        note.write_text("hello")
        client.predict([handle_file(note)], api_name="/batch")


def test_an_address_says_what_was_chosen() -> None:
    from snippets import link

    assert link("http://x", "a/b@c", "gradcam", 2) == "http://x/?model=a%2Fb%40c&method=gradcam&example=2"
    assert link("http://x", "m", "", None) == "http://x/?model=m&method="


def test_the_history_holds_no_name_and_each_question_once(sick, films) -> None:
    import predict
    import reading_history
    from made_up import NAME
    from model_registry import Desk

    desk = Desk(Predictor(sick))
    first = predict.judge(str(films.png), desk, "gradcam", "", 0.5, False)
    other = predict.judge(str(films.png), desk, "layercam", "", 0.5, False, held=first)
    entries = []
    for held in (first, other, first):
        entries = reading_history.added(entries, reading_history.entry(held, "javascript:alert(1)"))
    assert [own["method"] for own in entries] == ["gradcam", "layercam"]
    text = reading_history.table(entries)
    assert NAME not in json.dumps(entries) + text and "javascript" not in text and "Pneumonia" in text
    for number in range(60):
        entries = reading_history.added(entries, entries[0] | {"key": str(number)})
    assert len(entries) == reading_history.LONGEST
