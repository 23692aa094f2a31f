"""Score an archive of films into parquet shards without losing one: crashes cost one film, a rerun goes on.

    hf-pneumo score --checkpoint space/checkpoints/pneumonia-paper --source ARCHIVE --output scores --resume

SOURCE: a folder (any depth, pictures and DICOM mixed, told by content), one film, or a text file that ends in .txt with
a path a line. Each row of OUTPUT/shard-*.parquet holds path, SHA-256 of the content, status (judged, not judged or
error) with the reason, verdict, a probability a label, boxes (--boxes), notes, model, revision and seconds. Films are
decoded in child processes: one that crashes, hangs or eats memory costs its own film, which stands in the table as an
error. A film whose content is known is not scored again. At the end stands how far the films lie from those that the
thresholds were fitted on. With --resume a run that was stopped goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm.auto import tqdm

from hf_pneumo.cli.films import open_films
from hf_pneumo.imaging.film_folder import one_line
from hf_pneumo.models.folder import open_folder
from hf_pneumo.serving.archive import SECONDS, Summary, score_archive
from hf_pneumo.serving.archive_scorer import checkpoint_scorer
from hf_pneumo.serving.drift import drift_of, sentence
from hf_pneumo.serving.shards import Row


@dataclass(frozen=True)
class Arguments:
    checkpoint: str = field(metadata={"help": "checkpoint folder, or user/repo[@revision] on the Hub"})
    source: str = field(metadata={"help": "folder of films, one film, or a .txt file with a path a line"})
    output: str = field(metadata={"help": "folder for the shards"})
    boxes: bool = field(default=False, metadata={"help": "make maps, and keep the boxes around their evidence"})
    workers: int | None = field(default=None, metadata={"help": "child processes (default: one a core)"})
    limit: int | None = field(default=None, metadata={"help": "score at most so many films of the source"})
    seconds: float = field(default=SECONDS, metadata={"help": "after which a film is given up"})
    max_pixels: int | None = field(default=None, metadata={"help": "largest film that is read, in pixels"})
    resume: bool = field(default=False, metadata={"help": "go on with the shards that are in the output folder"})

    def __post_init__(self) -> None:
        for name in ("workers", "limit", "seconds", "max_pixels"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise ValueError(f"`{name}` is {value}; give a number above 0")


def run(arguments: Arguments) -> bool:
    films, remarks = films_of(arguments.source)
    films = films[: arguments.limit]
    scorer = checkpoint_scorer(arguments.checkpoint, boxes=arguments.boxes, max_pixels=arguments.max_pixels)
    with tqdm(total=len(films), desc="scoring", unit="film") as bar:

        def one_more(row: Row) -> None:
            bar.update()

        summary = score_archive(
            films, scorer, Path(arguments.output), workers=arguments.workers, resume=arguments.resume,
            seconds=arguments.seconds, progress=one_more,
        )  # fmt: skip
    for line in lines_of(summary, arguments.output):
        print(line)
    for drift in drift_of(sorted(Path(arguments.output).glob("shard-*.parquet")), open_folder(arguments.checkpoint)):
        print(sentence(drift))
    for remark in remarks:
        print(remark)
    return not summary.statuses["error"]


def films_of(source: str) -> tuple[Sequence[Path], Sequence[str]]:
    """The films of a source, and what is to be said of all else that lies there. Raises ValueError where none is."""
    path = Path(source).expanduser()
    if path.suffix.lower() == ".txt" and path.is_file():
        listed = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        films = [Path(line) for line in dict.fromkeys(listed) if line.strip()]
        if not films:
            raise ValueError(f"`source` {one_line(path)} lists no path; write one a line")
        return films, ()
    folder = open_films(source)
    return folder.films, folder.remarks


def lines_of(summary: Summary, output: str) -> list[str]:
    """What is said at the end: how many films, what became of them, and why some have no verdict."""
    rate = summary.films / summary.seconds if summary.seconds else 0.0
    known = f", {summary.known} were there already" if summary.known else ""
    lines = [f"{one_line(output)}: {summary.films} films in {summary.seconds:.0f} s ({rate:.1f} a second){known}"]
    for title, counts in (("", summary.statuses), ("verdicts: ", summary.verdicts), ("without: ", summary.reasons)):
        lines += [title + _counted(counts)] if counts else []
    return lines


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common(10))
