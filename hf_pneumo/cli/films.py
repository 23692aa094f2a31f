"""Which files a command reads when it is given a file or a folder."""

from __future__ import annotations

import logging
from pathlib import Path

from hf_pneumo.imaging.film_folder import FilmFolder, open_film_folder

logger = logging.getLogger("hf_pneumo")


def open_films(images: str) -> FilmFolder:
    """The file itself, or every film below the folder; ValueError where there is none, which says what there is."""
    try:
        folder = open_film_folder(images)
    except ValueError as error:
        raise ValueError(f"`images` {error}") from error
    if not folder.films:
        there = "; ".join(folder.remarks) or "it is empty"
        raise ValueError(f"`images` {images!r} holds no films: {there}")
    return folder


def find_films(images: str) -> list[Path]:
    """The films of :func:`open_films` alone; what else lies there is told in the log."""
    folder = open_films(images)
    for remark in folder.remarks:
        logger.info(remark)
    return list(folder.films)
