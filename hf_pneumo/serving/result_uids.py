"""UIDs for the objects of a result: the same for the same result, so that one that is sent again replaces itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid


@dataclass(frozen=True)
class ResultUids:
    """The UIDs of one result, by name. ``identity``: a hash of the film's header and of all that is said of it."""

    identity: str

    @classmethod
    def of(cls, header: Dataset, says: object, picture: bytes = b"") -> ResultUids:
        """Of a film by the header that its result takes over, of what is said of it and of the picture that shows it.

        The whole header, since films of several patients may bear one UID: no result may replace another's.
        """
        taken_over = [(element.keyword, str(element.value)) for element in header]
        said = f"{taken_over} {says!r} ".encode(errors="surrogatepass")
        return cls(hashlib.sha256(said + picture).hexdigest())

    def __call__(self, *name: object) -> UID:
        """The UID called ``name`` (PS3.5 section 9, under the root of pydicom)."""
        return generate_uid(entropy_srcs=["hf_pneumo result", self.identity, *map(str, name)])
