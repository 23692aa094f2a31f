"""Files told by their first bytes."""

from __future__ import annotations

import io

import pytest

from hf_pneumo.imaging.file_formats import looks_like_dicom, mistake_of, read_bytes, sniff
from hf_pneumo.imaging.xray import XrayReadError


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(9), "PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(9), "JPEG"),
        (bytes(128) + b"DICM", "DICOM"),
    ],
)
def test_formats_by_content(content, kind):
    assert sniff(content) == kind


def test_what_people_give_for_a_film_is_told_with_what_to_do():
    what, fix = mistake_of(b"%PDF-1.7")
    assert what == "a PDF document" and "export" in fix and mistake_of(b"plain") is None
    with pytest.raises(XrayReadError, match="a Git LFS pointer.*git lfs pull"):
        sniff(b"version https://git-lfs.github.com/spec/v1")


def test_a_data_element_without_the_mark_may_be_dicom():
    assert looks_like_dicom(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100") and not looks_like_dicom(b"short")


def test_streams_are_read_to_the_end_and_no_further_than_the_limit(tmp_path):
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 3))

    assert read_bytes(Slow(b"0123456789"), 10) == b"0123456789"
    with pytest.raises(XrayReadError, match="larger than the 4 bytes"):
        read_bytes(Slow(b"0123456789"), 4)
    with pytest.raises(XrayReadError, match="does not exist"):
        read_bytes(tmp_path / "nothing.png", 10)
