"""A dry run of the Space writes the folder and sends nothing."""

from __future__ import annotations

from hf_pneumo.cli.deploy_space import Arguments, run


def test_the_folder_is_written_and_nothing_sent(hub, tmp_path, capsys):
    run(Arguments("user/pneumonia", dry_run=True, output=str(tmp_path / "space")))
    assert "nothing was sent" in capsys.readouterr().out and (tmp_path / "space/README.md").is_file()
