"""Carries results from the spool to their peers: one thread for each peer, tries again until the peer has them.

Beside the results of a film in outgoing/ lies one file for each peer that they have not all reached, with what is still
owed, the attempts so far and when the next is due. It is rewritten after every object that has arrived, so that a
restart goes on where the last process was; an object that was under way then is sent again, under the same UID.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hf_pneumo.files import read_json
from hf_pneumo.serving.metrics import Metrics
from hf_pneumo.serving.peers import DeliveryError, Peer
from hf_pneumo.serving.spool import Spool, write_record

logger = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0  # seconds between attempts: doubled from one to the next


@dataclass(frozen=True)
class Owed:
    """What a peer has still to get of one film's results: file names; attempts so far; due, in seconds of the epoch."""

    peer: str
    files: tuple[str, ...]
    attempts: int = 0
    due: float = 0.0

    @classmethod
    def read(cls, path: Path) -> Owed:
        """From the file that :func:`write_owed` wrote."""
        content = read_json(path)
        return cls(content["peer"], tuple(content["files"]), content["attempts"], content["due"])

    def put_off(self, now: float) -> Owed:
        """The same after a failed attempt."""
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self.attempts, 20))
        return replace(self, attempts=self.attempts + 1, due=now + wait)


def write_owed(results: Path, peers: Iterable[Peer]) -> None:
    """Note in a folder of results that each of ``peers`` is to get all of its DICOM files."""
    files = tuple(sorted(path.name for path in results.glob("*.dcm")))
    for peer in peers:
        (results / _file_name(peer.name)).write_text(json.dumps(asdict(Owed(peer.name, files))))


class Courier:
    """Delivers what lies in ``spool``'s outgoing/ to ``peers``, until :meth:`stop`."""

    def __init__(
        self, spool: Spool, peers: Sequence[Peer], metrics: Metrics, *, clock: Callable[[], float] = time.time
    ):
        self.spool, self.peers, self.metrics, self.clock = spool, tuple(peers), metrics, clock
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._due: dict[str, list[tuple[float, str]]] = {peer.name: [] for peer in self.peers}
        self._threads = [threading.Thread(target=self._run, args=(peer,), daemon=True) for peer in self.peers]

    def start(self) -> None:
        """Begin, with what the last process left."""
        for key in self.spool.outgoing():
            self.take_over(key)
        for thread in self._threads:
            thread.start()

    def take_over(self, key: str) -> None:
        """Deliver the results of ``key``, which lie in outgoing/."""
        folder = self.spool.folder / "outgoing" / key
        owed = [Owed.read(path) for path in folder.glob("owed-*.json")]
        if not owed:
            self.spool.complete(key)
        with self._changed:
            for each in owed:
                if each.peer in self._due:
                    heapq.heappush(self._due[each.peer], (each.due, key))
                else:
                    logger.warning("results of %s wait for a peer that is no longer named", key[:12])
            self._changed.notify_all()

    def stop(self, timeout: float) -> None:
        """End after the object that is being sent, or after ``timeout`` seconds."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        end = time.monotonic() + timeout
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, end - time.monotonic()))

    def _run(self, peer: Peer) -> None:
        while (key := self._next(peer)) is not None:
            try:
                self.deliver(peer, key)
            except Exception as error:  # a full disk, or a folder that was removed by hand: the results stay
                logger.error("results of %s: %s while they were sent", key[:12], type(error).__name__)
                self._again(peer, key, self.clock() + LONGEST_WAIT)

    def _next(self, peer: Peer) -> str | None:
        """The results that are due next for ``peer``, once they are; None when the courier ends."""
        queue = self._due[peer.name]
        with self._changed:
            while not self._stopping.is_set():
                wait = queue[0][0] - self.clock() if queue else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(queue)[1]
                self._changed.wait(wait)
        return None

    def deliver(self, peer: Peer, key: str) -> None:
        """Send ``peer`` what it is owed of the results of ``key``, once."""
        folder = self.spool.folder / "outgoing" / key
        note = folder / _file_name(peer.name)
        if not note.exists():  # removed by hand
            return
        owed = Owed.read(note)
        for name in owed.files:
            try:
                peer.send(folder / name)
                self.metrics.sent(peer.name)
            except DeliveryError as error:
                logger.warning("results of %s: %s; attempt %d", key[:12], error, owed.attempts + 1)
                if not error.for_good:
                    self._put_off(peer, key, owed)
                    return
                self.metrics.failed("refused by a peer")
                self.spool.set_aside(key, name, f"{peer.name}: {error}")
            owed = replace(owed, files=owed.files[1:], attempts=0)
            write_record(note, asdict(owed))
        with self._changed:  # two peers that end at once complete the results once
            note.unlink()
            if not any(folder.glob("owed-*.json")):
                self.spool.complete(key)

    def _put_off(self, peer: Peer, key: str, owed: Owed) -> None:
        self.metrics.retried(peer.name)
        owed = owed.put_off(self.clock())
        write_record(self.spool.folder / "outgoing" / key / _file_name(peer.name), asdict(owed))
        self._again(peer, key, owed.due)

    def _again(self, peer: Peer, key: str, due: float) -> None:
        with self._changed:
            heapq.heappush(self._due[peer.name], (due, key))


def _file_name(peer: str) -> str:
    return f"owed-{hashlib.sha256(peer.encode()).hexdigest()[:16]}.json"
