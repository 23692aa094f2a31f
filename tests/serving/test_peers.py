"""Places that take results over."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pynetdicom")

from hf_pneumo.serving.peers import FolderPeer, StoragePeer, WebPeer, named_once


def test_an_address_is_title_host_and_port():
    peer = StoragePeer.parse("PACS@archive:104", "ME")
    assert (peer.title, peer.host, peer.port, peer.calling) == ("PACS", "archive", 104, "ME")
    with pytest.raises(ValueError):
        StoragePeer.parse("archive:104", "ME")


def test_a_peer_that_is_named_twice_is_one():
    peers = [FolderPeer(Path("/out")), WebPeer("http://pacs/web"), FolderPeer(Path("/out"))]
    assert len(named_once(peers)) == 2


def test_a_folder_takes_a_file_over(tmp_path):
    film = tmp_path / "film.dcm"
    film.write_bytes(b"content")
    FolderPeer(tmp_path / "out").send(film)
    assert [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()] == [b"content"]
