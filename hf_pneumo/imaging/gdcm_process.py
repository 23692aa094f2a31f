"""GDCM in a process of its own: on damaged data it may end the process that it runs in, which no `except` can catch.

Run by path, with the standard library and GDCM alone, so that it starts in a tenth of a second. Standard input: one
line of JSON, then the compressed frame. Standard output: the decoded samples, colour by pixel, little-endian.
"""

import json
import sys


def decode(frame: bytes, header: dict) -> bytes:
    """The samples of one frame; `header` holds what the DICOM image pixel module would say of it."""
    import gdcm

    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(frame)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((header["columns"], header["rows"], 1))
    image.SetDataElement(element)
    photometric = gdcm.PhotometricInterpretation.GetPIType(header["photometric"])
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(photometric))
    if header["samples"] > 1:
        image.SetPlanarConfiguration(0)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(header["syntax"])))
    depth = header["samples"], header["allocated"], header["stored"], header["stored"] - 1, header["signed"]
    image.SetPixelFormat(gdcm.PixelFormat(*depth))
    return image.GetBuffer().encode("utf-8", "surrogateescape")


def main() -> None:
    """One frame from standard input to standard output."""
    header = json.loads(sys.stdin.buffer.readline())
    sys.stdout.buffer.write(decode(sys.stdin.buffer.read(), header))


if __name__ == "__main__":
    main()
