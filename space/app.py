"""The Space: drop in a chest film; see verdict, calibrated probability and where the evidence lies.

    python space/app.py [--model FOLDER_OR_REPO[@REVISION]] [--port N]

It needs no network and no account. HF_PNEUMO_MODEL stands for --model.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent
# In a checkout the library lies one folder up; in a hosted Space it lies beside this file.
if importlib.util.find_spec("hf_pneumo") is None:
    sys.path.insert(0, str(HERE.parent))
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr  # noqa: E402
from components.film_drop import LARGEST  # noqa: E402
from model_registry import Shelf, places  # noqa: E402
from page import build_demo  # noqa: E402
from server import Guard, Limits, end_within_grace  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

from hf_pneumo.models.hub_download import CheckpointError  # noqa: E402

WARM_UP = 60.0  # seconds
FONTS = ["ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
# Beyond the hues: calm surfaces in both themes, and buttons whose text keeps a contrast of 4.5 to 1.
COLOURS = {
    "body_background_fill": "#f3f6f9",
    "body_background_fill_dark": "#0a0f15",
    "block_background_fill": "#ffffff",
    "block_background_fill_dark": "#121a23",
    "border_color_primary": "#d8e0e8",
    "border_color_primary_dark": "#223040",
    "color_accent": "*primary_700",
    "link_text_color": "*primary_700",
    "link_text_color_dark": "*primary_300",
    "block_title_text_color": "*neutral_700",
    "block_title_text_color_dark": "*neutral_200",
    "block_info_text_color": "*neutral_600",
    "block_info_text_color_dark": "*neutral_300",
    "block_label_text_color": "*neutral_700",
    "block_label_text_color_dark": "*neutral_200",
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
    "button_primary_background_fill_dark": "*primary_700",
    "button_primary_background_fill_hover_dark": "*primary_600",
    "button_primary_text_color": "#ffffff",
    "slider_color": "*primary_700",
    "slider_color_dark": "*primary_500",
}

__all__ = ["build_demo", "launch", "main"]


def launch(demo: gr.Blocks, **options: Any) -> tuple[Any, str, str]:
    """Start the page with its look and limits; ``options`` go to `gradio.Blocks.launch`. Returns (app, url, share)."""
    theme = gr.themes.Base(
        primary_hue="cyan", secondary_hue="cyan", neutral_hue="slate", radius_size="md", font=FONTS, font_mono=MONO
    ).set(**COLOURS)
    settings: dict[str, Any] = {
        "theme": theme,
        "css_paths": [HERE / "style.css", HERE / "components" / "components.css", HERE / "print.css"],
        "max_file_size": LARGEST,
        "app_kwargs": {"middleware": [Middleware(Guard, limits=Limits())]},
        "mcp_server": importlib.util.find_spec("mcp") is not None,
        "footer_links": ["api"],
        "share": False,
        "ssr_mode": False,
        "pwa": False,
        # Without Gradio's test of its own address, which gives up, and ends the page, where a machine is busy.
        "_frontend": False,
    }
    return demo.launch(**settings | options)


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, load the checkpoint and serve until stopped; status 1 and one sentence if it cannot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model",
        default=os.environ.get("HF_PNEUMO_MODEL") or None,
        help="checkpoint folder, or user/repo[@revision] on the Hub (default: HF_PNEUMO_MODEL, else the shipped one)",
    )
    parser.add_argument("--port", type=int, help="port to serve on (default: the first free one from 7860)")
    asked = parser.parse_args(arguments)
    try:
        warm_up()
        with uploads_folder():
            launch(build_demo(Shelf(places(asked.model))), server_port=asked.port)
    except (CheckpointError, ValueError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


def warm_up() -> None:
    """Import torch in the background, once the page and the first answer, which do without, had their time."""
    timer = threading.Timer(WARM_UP, importlib.import_module, ["hf_pneumo.serving.torch_engine"])
    timer.daemon = True
    timer.start()


@contextmanager
def uploads_folder() -> Iterator[Path]:
    """A folder of this process alone for what it is given and gives, inside GRADIO_TEMP_DIR; gone with it."""
    parent = os.environ.get("GRADIO_TEMP_DIR")
    if parent:
        os.makedirs(parent, exist_ok=True)
    # Gradio deletes its files only once every browser has gone, which a stopped server does not wait for.
    with tempfile.TemporaryDirectory(prefix="hf_pneumo-", dir=parent, ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder

        def stop(number: int, frame: FrameType | None) -> None:
            end_within_grace(Path(folder))
            signal.default_int_handler(number, frame)  # as Ctrl-C: through the way out

        before = signal.signal(signal.SIGTERM, stop)
        try:
            yield Path(folder)
        finally:
            signal.signal(signal.SIGTERM, before)
            os.environ.pop("GRADIO_TEMP_DIR")
            if parent:
                os.environ["GRADIO_TEMP_DIR"] = parent


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # the address is to be read at once, through a pipe or in a log too
    main()
