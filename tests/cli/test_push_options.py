"""The options that every push has."""

from __future__ import annotations

from pathlib import Path

from hf_pneumo.cli.push_options import PushOptions


def test_where_it_goes_and_where_a_dry_run_writes():
    options = PushOptions(repo="user/name", private=True, tag="v1")
    to = options.destination("space")
    assert (to.repo, to.kind, to.private, to.tag) == ("user/name", "space", True, "v1")
    assert options.dry_folder == Path("dry-run/name")
    assert PushOptions(repo="user/name", output="there").dry_folder == Path("there")
    assert PushOptions(repo="user/name").destination().private is None  # an existing one stays as it is
