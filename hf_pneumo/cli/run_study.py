"""Train and compare several backbones over several seeds under identical conditions, as a YAML file says.

    hf-pneumo study --config scripts/configs/paper.yaml --dry-run    # how long it would take here
    hf-pneumo study --config scripts/configs/paper.yaml
    hf-pneumo study --config scripts/configs/fast.yaml --dataset DIR --init-weights \\
        tf_efficientnet_lite0=lite0.safetensors mobilenetv2_100=mobilenetv2.safetensors
    hf-pneumo study --config scripts/configs/fast.yaml --record results/fast # results without weights

Each run is one `accelerate launch` of hf-pneumo train and one of hf-pneumo evaluate for each subset, in a process of
its own: one that fails is a row of the table that says why, and the next goes on. Called again, it skips finished runs,
goes on with interrupted ones and tries failed ones anew. The table (summary.csv, .md, .png) is written after every run;
other checkpoints in the study's folder, such as an ensemble that hf-pneumo ensemble wrote there, get a row as well.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import cast

import torch

from hf_pneumo.experiments.study import Run, Study, carry_out, keep_record, overridden, read_study
from hf_pneumo.experiments.summary import write_summary
from hf_pneumo.experiments.time_estimate import count_films, in_words, measure_speed

PACKAGE = Path(__file__).resolve().parents[2]  # where the package lies, which a child must find, too
_EXCEPTION = re.compile(r"^[\w.]*(Error|Exception|Interrupt)\b.*")
_KILLED = re.compile(r"died with <Signals\.(\w+)")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arguments:
    config: str = field(metadata={"help": "the study, such as scripts/configs/paper.yaml"})
    dataset: str | None = field(
        default=None, metadata={"help": "in place of the file's: Hub id, folder, table, phantom"}
    )
    dataset_name: str | None = field(default=None, metadata={"help": "what the results call the data set"})
    output: str | None = field(default=None, metadata={"help": "in place of the file's: folder for runs and summary"})
    models: list[str] | None = field(default=None, metadata={"help": "in place of the file's backbones"})
    seeds: list[int] | None = field(default=None, metadata={"help": "in place of the file's seeds"})
    init_weights: list[str] | None = field(
        default=None, metadata={"help": "MODEL=FILE.safetensors pairs: backbone weights where the Hub is not to be had"}
    )
    pretrained: bool | None = field(
        default=None, metadata={"help": "true or false: ImageNet weights from the Hub (default: as the file says)"}
    )
    teacher: str | None = field(default=None, metadata={"help": "in place of the file's: checkpoint that teaches"})
    cache: str | None = field(default=None, metadata={"help": "folder for decoded films"})
    record: str | None = field(
        default=None,
        metadata={"help": "train nothing; copy what is there, without weights, to this folder, such as results/fast"},
    )
    dry_run: bool = field(default=False, metadata={"help": "say what would be trained and how long it would take"})


def run(arguments: Arguments) -> bool:
    study = overridden(
        read_study(arguments.config),
        models=arguments.models,
        seeds=arguments.seeds,
        output=arguments.output,
        init_weights=arguments.init_weights or (),
        dataset=arguments.dataset,
        dataset_name=arguments.dataset_name,
        pretrained=arguments.pretrained,
        teacher=arguments.teacher,
        cache=arguments.cache,
    )
    if arguments.record:
        kept = keep_record(study, arguments.record)
        print("\n".join(map(str, write_summary(kept, title=Path(kept.output).name))))
        return True
    waiting = [run for run in study.runs() if not run.is_trained]
    if waiting and (arguments.dry_run or not torch.cuda.is_available()):
        say_expected_time(study, waiting)
    if arguments.dry_run:
        return True
    title, done = Path(arguments.config).stem, []
    for run_ in carry_out(study, launch):
        done.append(run_)
        write_summary(study, title=title)
    if not done:  # all was finished before; the table may still be asked for other models or seeds
        write_summary(study, title=title)
    print((Path(study.output) / "summary.md").read_text(encoding="utf-8"))
    failed = [run_ for run_ in done if run_.failure]
    for run_ in failed:
        print(f"{run_.folder.name} failed: {run_.failure}")
    return not failed


def say_expected_time(study: Study, waiting: list[Run]) -> None:
    """Measure a few steps of each backbone and print what its runs will take at most, and all together."""
    films, labels = count_films(waiting[0].config, study.splits)
    print(f"{len(waiting)} runs on " + ", ".join(f"{n} {name}" for name, n in films.items()) + " films")
    total = 0.0
    for model in dict.fromkeys(run.model for run in waiting):
        own = [run for run in waiting if run.model == model]
        speed = measure_speed(own[0].config, labels)
        each = speed.expected(own[0].config, films)
        total += each * len(own)
        print(
            f"  {model}: {speed.parameters / 1e6:.2f} M parameters, {1 / speed.train:.1f} films/s in training, "
            f"{len(own)} x {in_words(each)}"
        )
    print(f"expected time on this machine: {in_words(total)}", flush=True)


def launch(command: str, words: list[str], log: Path) -> str | None:
    """Run a command under `accelerate launch`, showing and logging what it says; the reason if it fails, else None."""
    call = [sys.executable, "-m", "accelerate.commands.launch", *threads(), "-m", "hf_pneumo.cli", command, *words]
    path = os.pathsep.join(filter(None, (str(PACKAGE), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    with process, log.open("ab") as log_file, cast(BufferedReader, process.stdout) as output:
        while part := output.read1(1 << 16):
            log_file.write(part)
            sys.stderr.buffer.write(part)
            sys.stderr.flush()
    return reason(log.read_text(encoding="utf-8", errors="replace"), process.returncode) if process.returncode else None


def threads() -> list[str]:
    """All the CPU threads that this process may use, in place of the single one that accelerate gives by itself."""
    return [] if torch.cuda.is_available() else ["--num_cpu_threads_per_process", str(torch.get_num_threads())]


def reason(told: str, status: int) -> str:
    """Why a process ended, from the last that it said: its own sentence, an exception, a signal, or its status."""
    lines = [line.strip() for line in told.replace("\r", "\n").splitlines()]
    for line in reversed(lines):
        if line.startswith("error: "):
            return line.removeprefix("error: ")
        if killed := _KILLED.search(line):
            return f"killed by {killed[1]}" + (", as when memory runs out" if killed[1] == "SIGKILL" else "")
        if _EXCEPTION.match(line) and "CalledProcessError" not in line:
            return line
    return f"ended with status {status}"
