"""The command line of a dataclass: types, lists, truth values, both spellings, and the names of the version before."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from hf_pneumo.cli.evaluate import Arguments
from hf_pneumo.cli.options import parse
from hf_pneumo.training.config import RENAMED, TrainConfig


@dataclass(frozen=True)
class Options:
    images: str = field(metadata={"help": "a folder"})
    batch_size: int = field(default=8, metadata={"help": "films at once"})
    rate: float | None = None
    models: list[str] = field(default_factory=lambda: ["a"])
    resume: bool = False

    def __post_init__(self):
        if self.batch_size < 1:
            raise ValueError(f"`batch_size` is {self.batch_size}; give at least 1")


def options(*words: str) -> Options:
    return parse(Options, words, prog="p", description="", bare="images")


def test_every_field_is_an_option():
    assert options("--images", "x") == Options("x")
    given = options("x", "--batch-size", "2", "--rate", "1e-3", "--models", "b", "c", "--resume")
    assert given == Options("x", 2, 1e-3, ["b", "c"], True)
    assert options("--images", "x", "--batch_size", "2", "--resume", "false") == Options("x", 2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "--images"),
        (("x", "--batch-size", "two"), "invalid int value"),
        (("x", "--batch-size", "0"), "`batch_size` is 0; give at least 1"),
        (("x", "--speed", "1"), "there is no option --speed"),
        (("x", "--resume", "perhaps"), "resume"),
        (("x", "--bach-size", "1"), "there is no option --bach-size; did you mean --batch-size?"),
    ],
)
def test_bad_usage_ends_with_status_2_and_one_reason(words, says, capsys):
    with pytest.raises(SystemExit) as ended:
        options(*words)
    told = capsys.readouterr().err
    assert ended.value.code == 2 and says in told and told.startswith("error: ") and told.count("\n") == 1


def test_help_names_options_and_defaults(capsys):
    with pytest.raises(SystemExit) as ended:
        options("--help")
    text = capsys.readouterr().out
    assert ended.value.code == 0 and "a folder" in text and "(default: 8)" in text


def test_the_old_names_of_protocol_and_split_are_taken_with_a_warning(caplog):
    words = ["--checkpoint", "c", "--dataset", "d"]
    old = parse(Arguments, [*words, "--split", "paper", "--subset=val"], prog="p", description="")
    new = parse(Arguments, [*words, "--protocol", "paper", "--split", "val"], prog="p", description="")
    assert old == new and (new.protocol, new.split) == ("paper", "val")
    assert [record.message.split(";")[0] for record in caplog.records] == [
        "--split is now --protocol", "--subset is now --split",
    ]  # fmt: skip


def test_the_old_names_of_settings_are_taken_with_a_warning(caplog):
    words = ["--ema", "0.5", "--fit-views", "2", "--clip", "0.1", "--split", "strict"]
    config = parse(TrainConfig, words, prog="p", description="")
    given = (config.ema_decay, config.calibration_views, config.asl_clip, config.protocol)
    assert given == (0.5, 2, 0.1, "strict") and len(caplog.records) == 4
    assert set(RENAMED.values()) <= set(vars(config)) and set(RENAMED).isdisjoint(vars(config))
