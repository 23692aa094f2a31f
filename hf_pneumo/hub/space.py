"""The Space, ready to be hosted: the app with the library beside it, pinned packages, and front matter.

Its repository is a place to install the library from, too: pyproject.toml lies at the top.
"""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import SpaceCardData
from huggingface_hub.repocard import RepoCard

import hf_pneumo
from hf_pneumo.hub.card import LICENSE, CardSource
from hf_pneumo.hub.upload import Changes, Destination, Pushed, asked, compare, push
from hf_pneumo.models.config import CONFIG, WEIGHTS
from hf_pneumo.models.hub_download import Fetched, fetch

VARIABLE = "HF_PNEUMO_MODEL"  # what app.py reads
SDK = "gradio"
REQUIREMENTS = "requirements.txt"
OWNED = ("*",)  # nobody else writes into a Space
LIBRARY = Path(hf_pneumo.__file__).parent
# A CPU Space has no use for the CUDA packages, several gigabytes, that torch on PyPI brings along.
CPU_WHEELS = "--extra-index-url https://download.pytorch.org/whl/cpu"
INSTALLABLE = ("pyproject.toml", "LICENSE")  # of the checkout: with them pip can install the library from the Space
CHECKPOINTS = "checkpoints"  # of the app's folder; left out where the Space loads repositories
LEFT_OUT = ("__pycache__", "*.pyc", ".gradio", "*.part")
# Where space/README.md says nothing: what the Hub asks of every Space.
FRONT_MATTER = {
    "title": "Pneumonia screening from chest X-rays",
    "emoji": "🫁",
    "colorFrom": "blue",
    "colorTo": "green",
    "app_file": "app.py",
    "short_description": "Research demo: pneumonia on chest films, explained",
    "tags": ["medical-imaging", "chest-x-ray", "pneumonia", "grad-cam"],
}
_REQUIREMENT = re.compile(r"^([A-Za-z0-9][\w.-]*)")


def stage_space(app: Path, into: Path, models: Sequence[str] = (), *, token: str | bool | None = None) -> list[Fetched]:
    """Write into the empty folder `into` what the Space is to hold; gives the pinned revisions of `models`, in order.

    `app` is the repository's space/ folder. `models` are `user/name` or `user/name@revision` on the Hub, the first the
    one that is shown first; with any the checkpoints beside the app are left out. Raises ValueError for a folder that
    is no app, CheckpointError for a model.
    """
    for needed in ("app.py", REQUIREMENTS):
        if not (app / needed).is_file():
            raise ValueError(f"`app` {str(app)!r} has no {needed}; give the repository's space folder.")
    if into.is_dir() and any(into.iterdir()):
        raise ValueError(f"`output` {str(into)!r} is not empty; give a new folder.")
    fetched = [fetch(model, token=token) for model in models]
    for model, one in zip(models, fetched, strict=True):
        if one.revision is None:
            raise ValueError(f"`model` {model!r} is a folder here; a hosted Space needs a repository, 'user/name'.")
    ignored = shutil.ignore_patterns(*LEFT_OUT, *([CHECKPOINTS] if models else []))
    shutil.copytree(app, into, ignore=ignored, dirs_exist_ok=True)
    shutil.copytree(LIBRARY, into / LIBRARY.name, ignore=shutil.ignore_patterns(*LEFT_OUT))
    requirements = (app / REQUIREMENTS).read_text(encoding="utf-8")
    (into / REQUIREMENTS).write_text(f"{CPU_WHEELS}\n" + "".join(_pinned(requirements)), encoding="utf-8")
    (into / "README.md").write_text(_readme(app / "README.md", fetched), encoding="utf-8")
    for name in INSTALLABLE:
        if (app.parent / name).is_file():
            shutil.copyfile(app.parent / name, into / name)
    return fetched


def deploy_space(app: Path, to: Destination, into: Path, models: Sequence[str] = ()) -> Pushed:
    """Publish the Space; it loads `models`, pinned to commits; without any, the checkpoints shipped beside the app."""
    fetched = stage_space(app, into, models, token=to.token)
    asked(lambda: _set_models(to, fetched), to)
    return push(into, to, message="Deploy the Space", owned=OWNED, sdk=SDK)


def plan_space(app: Path, to: Destination, into: Path, models: Sequence[str] = ()) -> Changes:
    """Write the exact folder that `deploy_space` would publish and say what it would change; nothing is sent."""
    stage_space(app, into, models, token=to.token)
    return compare(into, to, owned=OWNED)


def _set_models(to: Destination, fetched: Sequence[Fetched]) -> None:
    """Set the variable before the files arrive: the commit is what starts the Space anew."""
    api = to.api
    api.create_repo(to.repo, repo_type="space", space_sdk=SDK, private=to.private, exist_ok=True)
    if to.create_pr:  # a proposal changes nothing of the running Space
        return
    present = api.get_space_variables(to.repo).get(VARIABLE)
    wanted = " ".join(f"{one.name}@{one.revision}" for one in fetched)
    if not wanted and present is not None:
        api.delete_space_variable(to.repo, VARIABLE)
    elif wanted and (present is None or present.value != wanted):
        api.add_space_variable(to.repo, VARIABLE, wanted, description="The checkpoints that the Space loads")


def _pinned(requirements: str) -> Iterator[str]:
    """The installed version of each required package; gradio itself comes with the Space's SDK."""
    for line in requirements.splitlines():
        match = _REQUIREMENT.match(line.strip())
        if match and match[1].lower() != SDK:
            yield f"{match[1]}=={version(match[1])}\n"


def _readme(readme: Path, fetched: Sequence[Fetched]) -> str:
    card = RepoCard(readme.read_text(encoding="utf-8")) if readme.is_file() else None
    own = card.data.to_dict() if card else {}
    body = card.text if card else f"\n# {FRONT_MATTER['title']}\n\nFor research only; not a medical device.\n"
    fixed = {
        "sdk": SDK,
        "sdk_version": version(SDK),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "license": own.get("license", LICENSE),
    }
    if fetched:
        sources = [CardSource(one.path, one.name).dataset for one in fetched]
        fixed |= {
            "models": [one.name for one in fetched],
            "datasets": list(dict.fromkeys(filter(None, sources))) or own.get("datasets"),
            "preload_from_hub": [f"{one.name} {CONFIG},{WEIGHTS} {one.revision}" for one in fetched],
        }
    return f"---\n{SpaceCardData(**{**FRONT_MATTER, **own, **fixed})}\n---\n{body}"
