"""Which files a command reads when it is given a file or a folder."""

from __future__ import annotations

from pathlib import Path

from hf_pneumo.data.sources import EXTENSIONS


def find_films(images: str) -> list[Path]:
    """The file itself, or every image below the folder, sorted; archives often name DICOM files without an ending."""
    path = Path(images).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f"`images` {images!r} is neither a file nor a folder; check the path")
    found = sorted(
        p
        for p in path.rglob("*")
        if p.is_file() and not p.name.startswith(".") and (p.suffix.lower() in EXTENSIONS or not p.suffix)
    )
    if not found:
        raise ValueError(f"`images` {images!r} holds no images; files end in {' '.join(EXTENSIONS)} or in nothing")
    return found
