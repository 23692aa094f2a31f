"""The one command: its subcommands are there, say what they do, and end with the right status."""

from __future__ import annotations

from importlib import import_module

import pytest

from hf_pneumo import __version__
from hf_pneumo.cli.main import COMMANDS, main, usage


def status(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def test_usage_version_and_an_unknown_command(capsys):
    assert status("--help") == 0 and capsys.readouterr().out == usage()
    assert status("--version") == 0 and capsys.readouterr().out == f"hf-pneumo {__version__}\n"
    assert status() == 2
    capsys.readouterr()
    assert status("paint") == 2
    assert capsys.readouterr().err.startswith("error: `paint` is no command; choose one of train, ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_options_and_says_what_it_does(name):
    module = import_module(f"hf_pneumo.cli.{COMMANDS[name].module}")
    assert callable(module.run) and module.Arguments.__dataclass_fields__
    assert f"hf-pneumo {name}" in module.__doc__ and name in usage()


def test_an_error_is_one_sentence(capsys, tmp_path):
    assert status("explain", "--checkpoint", str(tmp_path), "--images", str(tmp_path), "--output", "x") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: `images` ")
