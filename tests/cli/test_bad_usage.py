"""A mistyped option is told in one line, with the option that was meant."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from hf_pneumo.cli.options import parse


@dataclass(frozen=True)
class Config:
    checkpoint: str = field(metadata={"help": "folder"})
    learning_rate: float = field(default=1.0, metadata={"help": "highest learning rate"})
    judge_anyway: bool = field(default=False, metadata={"help": "judge it"})


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--checkpoint", "c", "--learning-rte", "1"], "no option --learning-rte; did you mean --learning-rate?"),
        (["--checkpoint", "c", "--lerning_rate=1"], "no option --lerning_rate; did you mean --learning-rate?"),
        (["--checkpoint", "c", "--zzz"], "no option --zzz; --help lists the options"),
        (["--checkpoint", "c", "--learning-rate", "much"], "invalid float value: 'much'"),
        (["--learning-rate", "1"], "--checkpoint"),
    ],
)
def test_bad_usage_is_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(Config, words, prog="hf-pneumo train", description="Train.")
    told = capsys.readouterr().err
    assert stopped.value.code == 2 and says in told and told.startswith("error: ") and told.count("\n") == 1


def test_options_are_read_with_hyphens_or_underscores() -> None:
    for words in (["--learning-rate", "2", "--judge-anyway"], ["--learning_rate=2", "--judge_anyway"]):
        assert parse(Config, ["--checkpoint", "c", *words], prog="x", description="y") == Config("c", 2.0, True)
