"""From what a caller has (a path, bytes, an open file) to bytes, and from bytes to the format they are in."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from hf_pneumo.imaging.xray import XrayReadError

Source = str | os.PathLike | bytes | bytearray | memoryview | BinaryIO

READABLE = "PNG, JPEG, TIFF, WebP, BMP, GIF, JPEG 2000 and DICOM"

_SIGNATURES = (
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "TIFF"),
    (rb"RIFF....WEBP", "WebP"),
    (rb"GIF8[79]a", "GIF"),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", "BMP"),
)
# What people drop by mistake, and what to do instead.
_MISTAKES = (
    (rb"\x89PNG\r?\n|\x89PNG\r\n\x1a", "a PNG file changed by a text transfer", "copy it again in binary mode"),
    (rb"%PDF", "a PDF document", "export the picture in it as PNG"),
    (rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf", "an archive", "unpack it and give a file from inside"),
    (rb"....ftyp(heic|heix|mif1|msf1|avif|avis)", "an HEIC or AVIF photo", "save it as PNG or JPEG"),
    (rb"....ftyp|\0\0\x01[\xb3\xba]|\x1aE\xdf\xa3", "a video", "export one still picture as PNG"),
    (rb"\x5c\x01\0\0|\0\0\x01\x5c|NRRD", "a NIfTI or NRRD volume", "export the film as PNG or DICOM"),
    (rb"\s*<(!doctype|html|\?xml|svg)", "a web page or XML text", "download the picture itself"),
    (rb"version https://git-lfs", "a Git LFS pointer, not the file it stands for", "run `git lfs pull`"),
)


def read_bytes(source: Source, max_bytes: int) -> bytes:
    """The whole content of `source`, at most `max_bytes`; a file object is read from where it stands.

    Raises XrayReadError for a missing, unreadable, special, empty or too large file and for any other type.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        content = bytes(source[: max_bytes + 1])
    elif isinstance(source, (str, os.PathLike)):
        content = _read_path(source, max_bytes)
    elif hasattr(source, "read"):
        content = _read_stream(source, max_bytes)
    else:
        raise XrayReadError(
            f"`source` is a {type(source).__name__}; give a path, bytes or a file opened in binary mode."
        )
    if not content:
        raise XrayReadError("The file is empty (0 bytes); copy or export it again.")
    if len(content) > max_bytes:
        raise XrayReadError(
            f"The file is larger than the {max_bytes:,} bytes allowed by `max_bytes`; shrink it or raise the limit."
        )
    return content


def _read_path(source: str | os.PathLike, max_bytes: int) -> bytes:
    if isinstance(source, str) and re.match(r"https?://", source):
        raise XrayReadError("`source` is a web address; download the file and give its path or its bytes.")
    try:
        path = Path(os.fsdecode(source))
        if stat.S_ISDIR(path.stat().st_mode):
            problem = "is a folder; give one image file"
        elif not stat.S_ISREG(path.stat().st_mode):  # reading a pipe or a device may never end
            problem = "is not an ordinary file; copy its content to one"
        else:
            with path.open("rb") as stream:
                return stream.read(max_bytes + 1)
    except FileNotFoundError:
        problem = "does not exist; check the path"
    except PermissionError:
        problem = "may not be read; check its permissions"
    except (OSError, ValueError, TypeError) as error:
        problem = f"cannot be opened ({getattr(error, 'strerror', None) or type(error).__name__}); check the path"
    raise XrayReadError(f"The file {os.fsdecode(source)!r} {problem}.")


def _read_stream(stream: BinaryIO, max_bytes: int) -> bytes:
    """Reads until the end, since `read(n)` of a raw or network stream may return less than n."""
    parts: list[bytes] = []
    room = max_bytes + 1
    while room > 0:
        try:
            part = stream.read(room)
        except Exception as error:  # any object with `read` is allowed here, and so is any error of its own
            problem = type(error).__name__
            break
        if isinstance(part, str):
            raise XrayReadError("`source` is a file opened as text; open it in binary mode ('rb').")
        if not part:
            return b"".join(parts)
        parts.append(bytes(part))
        room -= len(part)
    else:
        return b"".join(parts)
    raise XrayReadError(f"The file object given as `source` cannot be read ({problem}); open the file again.")


def sniff(content: bytes) -> str:
    """The format by content, never by name: one of "PNG", "JPEG", "TIFF", ..., "DICOM".

    Raises XrayReadError that names a common other kind of file where it is one.
    """
    if content[128:132] == b"DICM":
        return "DICOM"
    head = content[:64]
    for signature, name in _SIGNATURES:
        if re.match(signature, head, re.DOTALL):
            return name
    if looks_like_dicom(content):
        return "DICOM"
    if mistake := mistake_of(content):
        raise XrayReadError("The file is {}; {}.".format(*mistake))
    raise XrayReadError(f"The file is not an X-ray image; readable are {READABLE}.")


def mistake_of(content: bytes) -> tuple[str, str] | None:
    """What a file that is no film is where people often give it for one, and what to do instead; else None."""
    head = content[:64]
    matches = ((what, fix) for mark, what, fix in _MISTAKES if re.match(mark, head, re.DOTALL | re.IGNORECASE))
    return next(matches, None)


def looks_like_dicom(content: bytes) -> bool:
    """Whether content without the DICM mark could start with a data element of group 0002 or 0008."""
    if len(content) < 16:
        return False
    little = content[1] == 0 and content[0] in (2, 8)
    big = content[0] == 0 and content[1] in (2, 8)
    # Real headers start with a low element number; a text or a number table rarely does.
    element = int.from_bytes(content[2:4], "little" if little else "big")
    return (little or big) and element <= 0x0110
