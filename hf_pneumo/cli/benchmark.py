"""Measure what things cost on this machine: side by side in one process, alternating, medians.

    hf-pneumo benchmark explain
    hf-pneumo benchmark train
    hf-pneumo benchmark reports
    hf-pneumo benchmark serve

`explain` times plain inference, prediction plus Grad-CAM here, the `grad-cam` package and Captum's LayerGradCam on the
same network and images. `train` times a step of the training loop, with augmentation, preprocessing, clipping and log,
beside bare forward + backward + optimizer step of the same network on tensors that are ready. Every round runs each
once, in rotating order, and ratios are medians of the rounds' own ratios, so that a machine which slows down slows all
of them. Each row is written as soon as it is measured, and a row that is there already, measured under the same
conditions, is not measured again: a killed run goes on where it was. `reports` times the labeling of reports
(`benchmark_reports`), `serve` a film from the file to the finding (`benchmark_serve`; --models are checkpoints then).
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import timm
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from hf_pneumo.cli.alternating import Call, alternate
from hf_pneumo.cli.checkout import repository
from hf_pneumo.data.labels import PNEUMONIA
from hf_pneumo.experiments.time_estimate import make_trainer
from hf_pneumo.explain import cam_pass, explain
from hf_pneumo.files import read_json, write_json
from hf_pneumo.models.classifier import PAPER_BACKBONES, build, set_training
from hf_pneumo.models.tensors import to_tensor
from hf_pneumo.models.tokens import to_maps
from hf_pneumo.training.augment import policy_named
from hf_pneumo.training.config import TrainConfig
from hf_pneumo.training.memory import keep_freed_memory

ROOT = repository()
EXPLAIN = ROOT / "results" / "benchmark-explain.json"
TRAIN = ROOT / "results" / "benchmark-train.json"
REPORTS = ROOT / "results" / "benchmark-reports.json"
SERVE = ROOT / "results" / "benchmark-serve.json"
SERVED = ["pneumonia-children", "pneumonia-paper"]  # one map of six views, one of one
PLAIN, OURS, PACKAGE, CAPTUM = "inference", "hf_pneumo", "grad-cam", "captum"
BARE, LOOP = "bare", "loop"
TARGET = 1


def contenders(network: nn.Module, images: torch.Tensor) -> dict[str, Call]:
    """What is compared: each a call that gives a prediction, all but the first with a heatmap of the images' size."""
    layer = network.get_submodule(cam_pass(network, images, TARGET).layer)
    size = tuple(images.shape[-2:])

    def plain() -> object:
        with torch.inference_mode():
            return network(images)

    calls: dict[str, Call] = {PLAIN: plain, OURS: lambda: explain(network, images, target=TARGET)}
    transformer = hasattr(network, "blocks") and hasattr(network, "cls_token")
    reshape = (lambda tokens: to_maps(tokens, network, size)) if transformer else None
    package = _package(network, layer, images, reshape)
    if package:
        calls[PACKAGE] = package
    if not transformer:  # Captum takes a transformer's tokens for channels and gives no map
        calls[CAPTUM] = _captum(network, layer, images)
    return calls


def _package(network: nn.Module, layer: nn.Module, images: torch.Tensor, reshape: Callable | None) -> Call | None:
    try:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    except ImportError:
        return None
    targets = [ClassifierOutputTarget(TARGET)] * len(images)

    def call() -> object:
        with GradCAM(network, [layer], reshape_transform=reshape) as method:  # its hooks must not burden the others
            return method(images, targets), method.outputs

    return call


def _captum(network: nn.Module, layer: nn.Module, images: torch.Tensor) -> Call:
    from captum.attr import LayerAttribution, LayerGradCam

    method = LayerGradCam(network, layer)

    def call() -> object:
        found = method.attribute(images, target=TARGET, relu_attributions=True)
        return LayerAttribution.interpolate(found, tuple(images.shape[-2:]), "bilinear")

    return call


def peak_bytes(call: Call) -> int:
    """The most memory that torch's CPU tensors held at once during a call, beyond what was held before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def measure(name: str, batch: int, size: int, rounds: int) -> dict[str, Any]:
    """One row: milliseconds, ratios to inference, speed against the package, and memory with the weights counted."""
    torch.manual_seed(0)
    network, images = build(name, 2).eval(), torch.randn(batch, 3, size, size)
    calls = contenders(network, images)
    seconds = alternate(calls, rounds)
    weights = sum(value.nbytes for value in network.state_dict().values())
    memory = {key: weights + peak_bytes(call) for key, call in calls.items()}

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))

    return {
        "model": name,
        "batch": batch,
        "milliseconds": {key: 1000 * statistics.median(values) for key, values in seconds.items()},
        "over_inference": {key: ratio(key, PLAIN) for key in calls if key != PLAIN},
        "package_over_ours": ratio(PACKAGE, OURS) if PACKAGE in calls else None,
        "memory_mib": {key: value / 2**20 for key, value in memory.items()},
        "memory_over_inference": {key: memory[key] / memory[PLAIN] for key in calls if key != PLAIN},
    }


def explain_table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown: one table for all that were measured under the same conditions, which stand above it."""
    order = list(PAPER_BACKBONES)
    rows = sorted(rows, key=lambda row: (order.index(row["model"]) if row["model"] in order else 99, row["batch"]))
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(_told(row["conditions"]), []).append(row)
    return "\n".join(f"{told}, x is times plain inference:\n\n{_table(found)}" for told, found in groups.items())


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| model | batch | inference, ms | + Grad-CAM here | grad-cam package | Captum | faster than the package "
        "| memory here | package's |",
        "|---" * 9 + "|",
    ]
    for row in rows:
        over, memory = row["over_inference"], row["memory_over_inference"]
        cells = [row["model"], str(row["batch"]), f"{row['milliseconds'][PLAIN]:.1f}"]
        cells += [_times(over.get(key)) for key in (OURS, PACKAGE, CAPTUM)]
        cells += [_times(row["package_over_ours"], 1), _times(memory.get(OURS)), _times(memory.get(PACKAGE))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _told(conditions: dict[str, Any]) -> str:
    return (
        "{processor}, {threads} threads, torch {torch}, timm {timm}, images of {size} x {size}; medians of {rounds} "
        "rounds".format(**conditions)
    )


def _times(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}x"


def run_explain(arguments: Arguments) -> None:
    rows = measure_rows(arguments, lambda name, batch: measure(name, batch, arguments.size, arguments.timed_rounds))
    print(explain_table(rows))


def measure_rows(arguments: Arguments, row_of: Callable[[str, int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Measure every row that is not there yet, storing each at once; gives all that are stored."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    path, here = arguments.path, conditions(arguments.timed_rounds, arguments.size)
    rows = read_json(path)["rows"] if path.is_file() else []
    batch_sizes = arguments.batch_sizes or DEFAULTS[arguments.what].batch_sizes
    jobs = [(name, batch) for name in arguments.models for batch in batch_sizes]
    for name, batch in tqdm(jobs, unit="row"):
        stored = [row for row in rows if (row["model"], row["batch"]) == (name, batch)]
        if not arguments.again and any(row["conditions"] == here for row in stored):
            continue
        row = {**row_of(name, batch), "conditions": here}
        rows = [other for other in rows if other not in stored] + [row]
        write_json(path, {"rows": rows})
    return rows


def measure_loop(name: str, batch: int, size: int, rounds: int, policy: str) -> dict[str, Any]:
    """One row: milliseconds of a bare step and of the loop's, and the loop's overhead as a share of the bare step."""
    config = TrainConfig(model=name, batch_size=batch, size=size, augment=policy)
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        trainer = make_trainer(config, PNEUMONIA, folder, batch)
        set_training(trainer.bare)
        x = to_tensor(trainer.preprocess, trainer.gray).contiguous(memory_format=torch.channels_last)  # (B, 3, h, w)
        films, optimizer = torch.arange(batch, device=x.device), trainer.optimizer.optimizer

        def bare() -> None:
            F.cross_entropy(trainer.bare(x), trainer.targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            if x.is_cuda:
                torch.cuda.synchronize()

        seconds = alternate({BARE: bare, LOOP: lambda: trainer.step(films)}, rounds)
    ratios = [loop / plain for loop, plain in zip(seconds[LOOP], seconds[BARE], strict=True)]
    return {
        "model": name,
        "batch": batch,
        "augment": policy,
        "milliseconds": {key: 1000 * statistics.median(values) for key, values in seconds.items()},
        "overhead": statistics.median(ratios) - 1,
    }


def run_train(arguments: Arguments) -> None:
    keep_freed_memory()  # as a training run does
    policy_named(arguments.augment)
    size, rounds = arguments.size, arguments.timed_rounds
    rows = measure_rows(arguments, lambda name, batch: measure_loop(name, batch, size, rounds, arguments.augment))
    text = train_table(rows)
    arguments.path.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def train_table(rows: list[dict[str, Any]]) -> str:
    """The rows of `train` as Markdown: a table for each set of conditions."""
    lines = []
    for told in dict.fromkeys(_told(row["conditions"]) for row in rows):
        lines += [f"{told}:", "", "| model | batch | augmentation | bare step, ms | loop, ms | overhead |"]
        lines += ["|---|---|---|---|---|---|"]
        for row in (row for row in rows if _told(row["conditions"]) == told):
            bare, loop = (row["milliseconds"][key] for key in (BARE, LOOP))
            cells = [row["model"], str(row["batch"]), row["augment"], f"{bare:.0f}", f"{loop:.0f}"]
            lines.append("| " + " | ".join([*cells, f"{100 * row['overhead']:+.1f} %"]) + " |")
        lines.append("")
    return "\n".join(lines)


def conditions(rounds: int, size: int) -> dict[str, Any]:
    """What a timing depends on beside the network; rows are one table only where all of it is the same."""
    return {
        "rounds": rounds,
        "size": size,
        "threads": torch.get_num_threads(),
        "processor": _processor(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] \
        if info.is_file() else []  # fmt: skip
    return names[0] if names else platform.processor() or platform.machine()


@dataclass(frozen=True)
class Arguments:
    what: str = field(
        metadata={"help": "explain (against other packages), train (against a bare step), reports or serve"}
    )
    output: str | None = field(default=None, metadata={"help": "results file (default: results/benchmark-WHAT.json)"})
    models: list[str] = field(
        default_factory=lambda: list(PAPER_BACKBONES), metadata={"help": "backbones (default: the paper's seven)"}
    )
    batch_sizes: list[int] | None = field(
        default=None, metadata={"help": "images at once (default: 1 and 8 for explain, 16 for train)"}
    )
    rounds: int | None = field(default=None, metadata={"help": "timed rounds (default: 15 for explain, else 5)"})
    size: int = field(default=224, metadata={"help": "side of the images in pixels"})
    threads: int = field(default=0, metadata={"help": "threads of torch (0: its own choice)"})
    augment: str = field(default="light", metadata={"help": "augmentation policy of the loop, for train"})
    again: bool = field(default=False, metadata={"help": "measure also what the results file holds already"})

    def __post_init__(self):
        if self.what not in DEFAULTS:
            raise ValueError(f"`what` is {self.what!r}; choose one of {', '.join(DEFAULTS)}")

    @property
    def path(self) -> Path:
        return Path(self.output) if self.output else DEFAULTS[self.what].output

    @property
    def timed_rounds(self) -> int:
        return self.rounds or DEFAULTS[self.what].rounds


class Defaults(NamedTuple):
    """What a benchmark does where nothing else is asked for."""

    output: Path
    batch_sizes: list[int]
    rounds: int


DEFAULTS = {
    "explain": Defaults(EXPLAIN, [1, 8], 15),
    "train": Defaults(TRAIN, [16], 5),
    "reports": Defaults(REPORTS, [], 5),
    "serve": Defaults(SERVE, [], 15),
}


def run(arguments: Arguments) -> None:
    if arguments.what == "reports":
        from hf_pneumo.cli.benchmark_reports import run_reports  # spaCy, which the others do without

        run_reports(ROOT / "tests" / "data", arguments.path, arguments.timed_rounds, _processor())
    elif arguments.what == "serve":
        from hf_pneumo.cli.benchmark_serve import run_serve  # pydicom, likewise

        given = arguments.models if arguments.models != list(PAPER_BACKBONES) else SERVED
        folders = [ROOT / "space" / "checkpoints" / name for name in given]
        run_serve(folders, arguments.path, arguments.timed_rounds, arguments.threads, _processor())
    else:
        (run_explain if arguments.what == "explain" else run_train)(arguments)
