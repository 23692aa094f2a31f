"""A PACS node: takes DICOM objects over, has chest radiographs judged, and sends the results into their studies.

    StorageScp, FolderWatch --> Spool --> Node: judge, write --> Courier --> peers

Every arrow is a rename on disk, so that a process that dies at any moment has lost and doubled nothing. What judges a
film, and what writes an outcome as DICOM files, are given as functions; nothing here imports a network. No log line
holds more of a film than the first digits of its key, which is a hash, and a reason.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pydicom.dataset import Dataset

from hf_pneumo.imaging.xray import XrayReadError
from hf_pneumo.serving.courier import Courier, write_owed
from hf_pneumo.serving.eligibility import passed_over, read_header
from hf_pneumo.serving.metrics import Metrics
from hf_pneumo.serving.spool import QueuedFilm, Spool

logger = logging.getLogger(__name__)

GRACE = 3.0  # seconds that the film in work has at the end, of the five that a service manager gives
IDLE = 1.0  # seconds between two looks whether the node is to end
PAUSE = 5.0  # seconds before the next film where a result could not be written
JUDGED = "judged"  # the status of an outcome with a verdict, see `serving.outcome`


class Judgement(Protocol):
    """What a judge says of a film: an outcome of `serving.outcome`, or a stand-in for one."""

    @property
    def status(self) -> str: ...

    @property
    def reason(self) -> str: ...


Judge = Callable[[Path], Any]  # from a film's file to its Judgement; raises XrayReadError
Writer = Callable[[Path, Any, Path, str], object]  # film, Judgement, folder and what the files' names begin with


class Node:
    """Judges the films of ``spool`` in one thread, from :meth:`start` to :meth:`stop`.

    ``write`` puts DICOM files into the folder that it is given, and raises ValueError for a film beside which nothing
    can be filed.
    """

    def __init__(self, spool: Spool, judge: Judge, write: Writer, courier: Courier, metrics: Metrics):
        self.spool, self.judge, self.write = spool, judge, write
        self.courier, self.metrics = courier, metrics
        self._stopping = threading.Event()
        self._film: QueuedFilm | None = None  # in work
        self._handover = threading.Lock()  # held while a film leaves working/
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._trouble = ""
        metrics.watch_queue(spool.lengths, lambda: spool.bytes)

    def start(self) -> None:
        """Begin to judge and to send."""
        self.courier.start()
        self._thread.start()

    def stop(self, grace: float = GRACE) -> None:
        """End after the film in work; where it takes longer than ``grace`` seconds, it goes back into the queue."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(grace)
        with self._handover:
            if self._film is not None:
                self.spool.give_back(self._film)
                self._film = None
        self.courier.stop(1.0)

    def trouble(self) -> str:
        """Why the node is not well; "" while it is."""
        return self._trouble if self._thread.is_alive() or self._stopping.is_set() else "the judge has ended"

    def work(self, timeout: float = IDLE) -> bool:
        """Deal with the film that has waited longest; False where none comes within ``timeout`` seconds."""
        film = self.spool.take(timeout)
        if film is None:
            return False
        self._film, start = film, time.perf_counter()
        try:
            self._deal_with(film)
            self._trouble = ""
        except OSError as error:  # a full disk is no fault of the film
            self._trouble = f"results cannot be written ({error.strerror or type(error).__name__})"
            logger.error("%s goes back into the queue: %s", film.mark, self._trouble)
            self._leave(film, lambda: self.spool.give_back(film))
            self._stopping.wait(PAUSE)
        self.metrics.took(time.perf_counter() - start)
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.work()

    def _deal_with(self, film: QueuedFilm) -> None:
        try:
            header = read_header(film.path)
            reason = passed_over(header)
            judgement = None if reason else self.judge(film.path)
        except XrayReadError as error:
            self._fail(film, "cannot be read", str(error))
            return
        except OSError:
            raise
        except Exception as error:  # its text may quote the film
            self._fail(film, "the judge failed", type(error).__name__)
            return
        if judgement is None:
            self._pass_over(film, str(reason))
        else:
            self._file(film, header, judgement)

    def _pass_over(self, film: QueuedFilm, reason: str) -> None:
        logger.info("%s passed over: %s", film.mark, reason)
        self.metrics.passed_over(reason)
        self._leave(film, lambda: self.spool.finish(film, {"status": "passed over", "reason": reason}))

    def _file(self, film: QueuedFilm, header: Dataset, judgement: Judgement) -> None:
        """Write the results of a film and hand them to the courier."""
        record = _record(judgement)
        with self.spool.results(film) as folder:
            try:
                self.write(film.path, judgement, folder, str(header.get("SOPInstanceUID") or film.key))
            except ValueError as error:
                self._fail(film, "no result can be filed", str(error))
                return
            write_owed(folder, self.courier.peers)
            if not self._leave(film, lambda: self.spool.hand_on(film, folder, record)):
                return
        logger.info("%s %s: %s", film.mark, record["status"], record["reason"] or record["verdict"])
        if record["status"] == JUDGED:
            self.metrics.judged(record["verdict"])
        else:
            self.metrics.not_judged(record["reason"])
        self.courier.take_over(film.key)

    def _fail(self, film: QueuedFilm, reason: str, details: str) -> None:
        logger.error("%s needs a person: %s", film.mark, reason)
        self.metrics.failed(reason)
        self._leave(film, lambda: self.spool.fail(film, f"{reason}: {details}"))

    def _leave(self, film: QueuedFilm, step: Callable[[], object]) -> bool:
        """Take ``film`` out of working/ by ``step``, unless the node has given it back meanwhile."""
        with self._handover:
            if self._film is not film:
                return False
            step()
            self._film = None
        return True


def _record(judgement: Judgement) -> Mapping[str, str]:
    """What stays of a judgement in the spool: nothing that identifies a person."""
    refusal = getattr(judgement, "refusal", None)
    return {
        "status": judgement.status,
        "verdict": getattr(judgement, "verdict", ""),
        "reason": refusal.reason if refusal else judgement.reason,
    }
