"""Batch: many films at once, a row for each, and all of it to take away."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import gradio as gr
import html_finding
from batch_files import MOST, BatchError
from batch_job import DICOM, OVERLAYS, WRITES_DICOM, BatchJob, BatchRow
from common import LIGHT, Common
from components.film_table import FilmRow, FilmTable, film_table

from hf_pneumo.models.hub_download import CheckpointError

# One batch at a time, in a queue of its own: a single film never waits for it.
BATCH_QUEUE: dict[str, Any] = {"concurrency_id": "batch", "concurrency_limit": 1, "api_visibility": "private"}
Values = dict[gr.components.Component, Any]


class Batch:
    """Films, archives or a folder; what became of each; the tables and pictures of all."""

    name, title = "batch", "Batch"

    def __init__(self, common: Common) -> None:
        self.shelf = common.shelf
        self._jobs = _Jobs()
        gr.HTML(
            f'<p class="hp-lead">Up to {MOST} films: files, zip archives or a folder. Each is judged as in Read; what '
            "cannot be read or judged has a row that says why.</p>"
        )
        with gr.Row():
            self.uploads = gr.File(
                file_count="multiple", label="Films and zip archives", height=150, elem_id="batch-files"
            )
            with gr.Column():
                self.model = gr.Dropdown(
                    self.shelf.names, value=self.shelf.default, label="Checkpoint that judges them", filterable=False,
                    visible=len(self.shelf.names) > 1, elem_id="batch-model",
                )  # fmt: skip
                self.as_dicom = gr.Checkbox(
                    False, label="DICOM results of DICOM films, too", visible=WRITES_DICOM, elem_id="batch-dicom"
                )
        with gr.Row():
            folder = gr.UploadButton("Choose a folder", file_count="directory", elem_id="batch-folder")
            self.start = gr.Button("Judge all", variant="primary", elem_id="batch-start")
            self.stop = gr.Button("Stop", interactive=False, elem_id="batch-stop")
        self.said = gr.HTML(elem_id="batch-said")
        self.table = film_table("batch-table")
        with gr.Row():
            self.csv = gr.DownloadButton("Table (CSV)", interactive=False, elem_id="batch-csv")
            self.overlays = gr.DownloadButton("Overlays (zip)", interactive=False, elem_id="batch-overlays")
            self.dicom = gr.DownloadButton(
                "DICOM results (zip)", interactive=False, visible=WRITES_DICOM, elem_id="batch-dicom-zip"
            )
        folder.upload(lambda files: files, folder, self.uploads, **LIGHT)
        common.model.change(lambda chosen: chosen, common.model, self.model, **LIGHT)
        self.start.click(
            self.run,
            [self.uploads, self.model, self.as_dicom],
            [self.said, self.table, self.start, self.stop, self.csv, self.overlays, self.dicom],
            show_progress="hidden",
            **BATCH_QUEUE,
        )
        self.stop.click(self.halt, **LIGHT)
        common.demo.unload(self.halt)

    def run(self, uploads: Sequence[str] | None, model: str, as_dicom: bool, request: gr.Request) -> Iterator[Values]:
        """The table, film by film, then what can be taken away."""
        downloads = (self.csv, self.overlays, self.dicom)
        yield {self.said: "<p>Looking at the files …</p>"}
        try:
            if not uploads:
                raise BatchError("There are no films yet: give files, a zip archive or a folder.")
            job = BatchJob(self.shelf.open(model), uploads, as_dicom=as_dicom)
        except (BatchError, CheckpointError) as error:
            yield {self.said: html_finding.problem(str(error))}
            return
        with job, self._jobs.held(str(request.session_hash), job):
            table = FilmTable(run=uuid.uuid4().hex, rows=[])
            yield {
                self.said: _progress(job),
                self.table: table,
                self.start: gr.Button(interactive=False),
                self.stop: gr.Button(interactive=True),
                **{button: gr.DownloadButton(value=None, interactive=False) for button in downloads},
            }
            for row in job.run():
                table = FilmTable(run=table["run"], rows=[*table["rows"], shown(row)])
                yield {self.said: _progress(job), self.table: table}
            made = (job.table(self.csv), job.pack(OVERLAYS, self.overlays), job.pack(DICOM, self.dicom))
        yield {
            self.said: _done(job),
            self.start: gr.Button(interactive=True),
            self.stop: gr.Button(interactive=False),
            **{
                button: gr.DownloadButton(value=path, interactive=path is not None)
                for button, path in zip(downloads, made, strict=True)
            },
        }

    def halt(self, request: gr.Request) -> None:
        """Stop was clicked, or nobody is there any more."""
        self._jobs.stop(str(request.session_hash))


class _Jobs:
    """The job of each session; safe under threads."""

    def __init__(self) -> None:
        self._jobs: dict[str, BatchJob] = {}

    @contextmanager
    def held(self, session: str, job: BatchJob) -> Iterator[None]:
        """Within it `stop` reaches the job."""
        self._jobs[session] = job
        try:
            yield
        finally:
            self._jobs.pop(session, None)

    def stop(self, session: str) -> None:
        """The session's job ends after the film that it is at."""
        if job := self._jobs.get(session):
            job.stop()


def shown(row: BatchRow) -> FilmRow:
    """The row as the page shows it."""
    cells = row.cells
    verdict = cells.get("verdict") or cells["status"]
    return FilmRow(
        file=cells["file"],
        kind=cells["status"].replace(" ", "-"),
        verdict=verdict.capitalize(),
        probability=row.probability,
        shown="" if row.probability is None else html_finding.percent(row.probability),
        remarks=" ".join(filter(None, (cells["reason"], cells.get("notes"), cells.get("filing")))),
        thumbnail=row.thumbnail,
    )


def _progress(job: BatchJob) -> str:
    done, left = len(job.rows), job.seconds_left
    rest = f", about {_duration(left)} left" if left else ""
    return (
        f"<p>{done} of {job.films} films{rest}</p>"
        f'<progress class="hp-progress" max="{job.films}" value="{done}" aria-label="Films judged"></progress>'
    )


def _done(job: BatchJob) -> str:
    done = len(job.rows)
    whole = f"All {done} films are done." if done == job.films else f"Stopped after {done} of {job.films} films."
    remarks = "".join(
        f'<p class="hp-fine">{escape(remark[:1].upper() + remark[1:])}.</p>' for remark in job.files.remarks
    )
    return f'<div role="status"><p><b>{whole}</b></p>{remarks}</div>'


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
