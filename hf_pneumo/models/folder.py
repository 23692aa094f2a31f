"""A checkpoint folder without its network: all that judging needs beside the answers themselves; no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hf_pneumo.models.config import WEIGHTS, CheckpointConfig, read_config, weights_sha256, with_fitting_point
from hf_pneumo.models.hub_download import fetch
from hf_pneumo.models.ood_detector import FilmDensity


@dataclass(frozen=True)
class CheckpointFolder:
    """Where a checkpoint lies and what it says of itself.

    ``name`` is the repository or the folder's name, ``revision`` the Hub's commit or None, ``path`` the folder here.
    ``density``: of the films that it was trained on, by which others are told apart; None where it was not fitted.
    ``sha256``: of its weights' file, which pins a model that has no Hub revision; "" where it was not read from one.
    """

    config: CheckpointConfig
    name: str
    revision: str | None
    path: Path
    density: FilmDensity | None = None
    sha256: str = ""


def open_folder(
    where: str | os.PathLike[str], *, revision: str | None = None, token: str | bool | None = None
) -> CheckpointFolder:
    """The checkpoint at ``where``, a folder, ``user/repo`` or ``user/repo@revision``, without its network.

    Weights other than those that the operating point was fitted to are told in a warning and get an unfitted one.
    Raises CheckpointError, in one sentence with the fix, when it cannot be had or its config is damaged or newer.
    """
    fetched = fetch(where, revision=revision, token=token)
    sha256 = weights_sha256(fetched.path / WEIGHTS)
    config = with_fitting_point(read_config(fetched.path), fetched.path / WEIGHTS, sha256)
    return CheckpointFolder(
        config, fetched.name, fetched.revision, fetched.path, FilmDensity.load(fetched.path), sha256
    )
