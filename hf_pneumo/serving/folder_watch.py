"""A folder whose new files go into a spool, once they have stopped growing."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from hf_pneumo.imaging.film_files import file_kind
from hf_pneumo.imaging.film_folder import walk
from hf_pneumo.serving.metrics import Metrics
from hf_pneumo.serving.spool import Spool, SpoolFull

logger = logging.getLogger(__name__)

SOURCE = "folder"  # as the metrics call it
INTERVAL = 2.0  # seconds between two looks: a file that is the same in both is whole
_State = tuple[int, int, int]  # inode, bytes and time of the last change, which tell a file from what it was


class FolderWatch:
    """Looks at ``folder`` in a thread, from :meth:`start` to :meth:`stop`; its files are only read.

    A file that was queued before, by this process or an earlier one, is known by its content and queued once.
    """

    def __init__(
        self,
        folder: Path,
        spool: Spool,
        metrics: Metrics,
        *,
        max_bytes: int = 256 * 1024**2,
        interval: float = INTERVAL,
    ):
        if not folder.is_dir():
            raise ValueError(f"--watch {folder} is no folder; check the path")
        self.folder, self.spool, self.metrics = folder, spool, metrics
        self.max_bytes, self.interval = max_bytes, interval
        self._seen: dict[Path, _State] = {}
        self._taken: dict[Path, _State] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """End, after the file that is being read."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def look(self) -> int:
        """Queue the files that are as they were at the look before; returns how many were new to the spool."""
        states = {path: state for path in walk(self.folder).files if (state := _state(path))}
        settled = [p for p, state in states.items() if self._seen.get(p) == state and self._taken.get(p) != state]
        self._seen = states
        self._taken = {path: state for path, state in self._taken.items() if path in states}
        return sum(self._take(path, states[path]) for path in settled if not self._stopping.is_set())

    def _take(self, path: Path, state: _State) -> bool:
        """Queue one file; it stays for the next look where there is no room for it or it cannot be read now."""
        try:
            if (reason := self._unfit(path, state)) is None:
                new = self.spool.put(path.read_bytes())
                (self.metrics.received if new else self.metrics.repeated)(SOURCE)
            else:
                new = False
                self.metrics.passed_over(reason)
        except SpoolFull:
            self.metrics.refused("no room in the spool")
            return False
        except OSError as error:
            logger.warning("a file of the watched folder cannot be read (%s)", type(error).__name__)
            return False
        self._taken[path] = state
        return new

    def _unfit(self, path: Path, state: _State) -> str | None:
        """Why a file is not for the spool: results can only be filed beside a DICOM film."""
        if state[1] > self.max_bytes:
            return "object is too large"
        return None if file_kind(path).name == "DICOM" else "no DICOM image"

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except OSError as error:
                logger.warning("the watched folder cannot be read (%s)", type(error).__name__)
            self._stopping.wait(self.interval)


def _state(path: Path) -> _State | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
