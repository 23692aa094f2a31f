"""Who is on a film: patient keys from paths and file names, by the rules of each split protocol.

Kermany et al. 2018 name pneumonia films ``personN_bacteria_M`` or ``personN_virus_M`` and normal ones ``IM-dddd-dddd``
or ``NORMAL2-IM-dddd-dddd``. 979 numbers occur as bacteria and as virus: they are different children, so that
``personN`` alone is not a patient.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from hf_pneumo.imaging.film_files import FILM_ENDINGS

_PNEUMONIA = re.compile(r"person(\d+)_(bacteria|virus)_", re.IGNORECASE)
_NORMAL = re.compile(r"((?:NORMAL\d*-)?IM-\d{4})-\d{4}", re.IGNORECASE)
_NORMAL_FILM = re.compile(r"IM-\d{4}-\d{4}", re.IGNORECASE)
_PERSON = re.compile(r"person\d+", re.IGNORECASE)
# CheXpert's patient00001 and MIMIC-CXR's p10000032, and what archives of studies call a person's folder.
_FOLDER = re.compile(r"(?:patient|pat|subject|subj|sub|case|p)[-_ ]?\d+", re.IGNORECASE)
# Films of one patient on average: 3.6 in ChestX-ray14, 3.4 in CheXpert, 5.8 in MIMIC-CXR-JPG. More belong to a set.
MOST_FILMS = 20


def aetiology(file_name: str) -> str | None:
    """ "bacteria", "virus" or "normal" as the file name says, None where it says nothing."""
    if match := _PNEUMONIA.match(_stem(file_name)):
        return match[2].lower()
    return "normal" if _NORMAL.match(_stem(file_name)) else None


def strict_patient(file_name: str) -> str | None:
    """(number, aetiology) of a pneumonia film, series number of a normal one; None for other file names."""
    stem = _stem(file_name)
    if match := _PNEUMONIA.match(stem):
        return f"PERSON{match[1]}-{match[2].upper()}"
    match = _NORMAL.match(stem)
    return match[1].upper() if match else None


def paper_patient(file_name: str) -> str:
    """The key of arXiv 2511.00456: ``personN``; else the leading ``IM-dddd-dddd``, else the first three tokens."""
    stem = _stem(file_name)
    if match := _PERSON.match(stem) or _NORMAL_FILM.match(stem):
        return match[0].upper()
    folder = _posix(file_name).parent
    name = "-".join(film_stem(file_name).split("-")[:3])
    return (name if folder == PurePosixPath(".") else f"{folder}/{name}").upper()


def patients_of(paths: Sequence[str]) -> list[str]:
    """A patient key for each film of one collection, by its path below the collection's folder.

    Kermany's (see `strict_patient`), else the nearest folder that is named as a person's (patient00001, p10000032,
    case-7), else the file name up to the first "_" that ends a number: 00000013 of 00000013_005.png, MCUCXR_0001 of
    MCUCXR_0001_0.png. A number that more than `MOST_FILMS` films share is a set's, such as COVID19_, and the next one
    counts. Where folders repeat each other's file names, a name says who it is only within its folder.
    """
    places = [_posix(path) for path in paths]
    repeated = max(Counter(place.name for place in set(places)).values(), default=0) > 1
    keys = [strict_patient(path) or _person_folder(place) for path, place in zip(paths, places, strict=True)]
    unclear = [i for i, key in enumerate(keys) if key is None]
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for i in unclear:
        groups[f"{places[i].parent}/" if repeated and places[i].parent.parts else ""].append(i)
    for folder, members in groups.items():
        number_of = _numbered({film_stem(paths[i]) for i in members})
        for i in members:
            keys[i] = folder + number_of[film_stem(paths[i])]
    return [key or "" for key in keys]


def film_stem(path: str) -> str:
    """The file's name without the ending of a film; an identifier with dots in it stays whole."""
    name = _posix(path).name
    ending = PurePosixPath(name).suffix
    return name.removesuffix(ending) if ending.lower() in FILM_ENDINGS else name


def _person_folder(place: PurePosixPath) -> str | None:
    return next((folder for folder in reversed(place.parent.parts) if _FOLDER.fullmatch(folder)), None)


def _numbered(stems: Collection[str]) -> dict[str, str]:
    """Each stem up to the first "_" that ends a patient's number, or the whole of it."""
    keys: dict[str, str] = {}
    groups = [("", sorted(stems))]
    while groups:
        begin, members = groups.pop()
        families: defaultdict[str | None, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for stem in members:
            token = stem[len(begin) :].partition("_")[0]
            families[_family(token)][begin + token].append(stem)
        for family, shared in families.items():
            numbers = family is not None and sum(map(len, shared.values())) <= MOST_FILMS * len(shared)
            for key, films in shared.items():
                longer = [] if numbers else [stem for stem in films if stem.startswith(key + "_")]
                groups += [(key + "_", longer)] if longer else []
                keys |= dict.fromkeys(set(films) - set(longer), key)
    return keys


def _family(token: str) -> str | None:
    """What tokens that number the same thing have in common, their letters; None for one without a digit."""
    if match := re.fullmatch(r"(\D*)\d+", token):
        return match[1]
    return "mixed" if re.search(r"\d", token) else None


def _posix(path: str) -> PurePosixPath:
    return PurePosixPath(path.replace("\\", "/"))


def _stem(file_name: str) -> str:
    return _posix(file_name).name.partition(".")[0]
