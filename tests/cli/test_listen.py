"""What `hf-pneumo listen` refuses before it listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_pneumo.cli.listen import Arguments, _peers, _scp_options
from hf_pneumo.cli.options import parse

PLACE = ["--checkpoint", "C", "--spool", "S"]


def parsed(*words: str) -> Arguments:
    return parse(Arguments, [*PLACE, *words], prog="hf-pneumo listen", description="Listen.")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--output", "R"], "nothing would arrive"),
        (["--port", "11112"], "the results would have no place"),
        (["--port", "11112", "--output", "R", "--cert", "c.pem"], "TLS needs --cert and --key"),
        (["--port", "11112", "--output", "R", "--send-with-tls"], "TLS needs --cert and --key"),
        (["--port", "11112", "--output", "R", "--host", "0.0.0.0"], "say who may call"),
        (["--port", "11112", "--output", "R", "--title", "A" * 17], "no AE title"),
        (["--port", "11112", "--stow", "PACS@10.0.0.2:104"], "no web address"),
    ],
)
def test_bad_usage_is_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parsed(*words)
    told = capsys.readouterr().err
    assert stopped.value.code == 2 and says in told and told.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["--allow", "PACS"], ["--ca", "a.pem", "--cert", "c.pem", "--key", "k.pem"]])
def test_a_listener_that_others_reach_needs_to_know_them(words: list[str]) -> None:
    options = ["--port", "11112", "--output", "R", "--host", "127.0.0.1" if not words else "10.0.0.1"]
    assert parsed(*options, *words).port == 11112


def test_options_may_be_given_several_times() -> None:
    given = parsed("--port", "1", "--allow", "A", "B@127.0.0.1", "--allow", "C", "--output", "R", "--send-to", "P@h:1")
    assert given.allow == ["A", "B@127.0.0.1", "C"]
    assert [caller.title for caller in _scp_options(given).callers] == ["A", "B", "C"]
    assert [peer.name for peer in _peers(given)] == ["P@h:1", f"folder {Path('R').absolute()}"]


def test_files_of_tls_that_are_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "pem").write_text("no certificate")
    for path, says in ((tmp_path / "missing", "is no file"), (tmp_path / "pem", "do not fit")):
        with pytest.raises(ValueError, match=says):
            _scp_options(parsed("--port", "1", "--output", "R", "--cert", str(path), "--key", str(path)))
