"""Decoders are quiet while a film is read, and nowhere else."""

from __future__ import annotations

import logging
import threading
import warnings

import pytest

from hf_pneumo.imaging.decoder_warnings import quiet


def test_a_warning_within_is_dropped_and_one_after_is_not():
    with pytest.warns(UserWarning, match="after") as heard:
        with quiet():
            warnings.warn("within", UserWarning, stacklevel=1)
        warnings.warn("after", UserWarning, stacklevel=1)
    assert [str(one.message) for one in heard] == ["after"]


def test_the_log_of_pydicom_is_quiet_in_this_thread_alone(caplog):
    log = logging.getLogger("pydicom")
    with caplog.at_level(logging.WARNING, "pydicom"), quiet():
        log.warning("here")
        other = threading.Thread(target=log.warning, args=("elsewhere",))
        other.start()
        other.join()
    assert [record.message for record in caplog.records] == ["elsewhere"]
