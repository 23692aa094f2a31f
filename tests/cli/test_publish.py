"""Publishing asks for sound checkpoints before anything is sent."""

from __future__ import annotations

from hf_pneumo.cli import publish


def test_every_step_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(publish, "publish", lambda what: iter([("https://x/y", "published at abc")]))
    publish.run(publish.Arguments("user"))
    told = capsys.readouterr().out
    assert "https://x/y" in told and "published at abc" in told
