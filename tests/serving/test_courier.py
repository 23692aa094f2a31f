"""What is owed to a peer."""

from __future__ import annotations

from types import SimpleNamespace

from hf_pneumo.serving.courier import FIRST_WAIT, LONGEST_WAIT, Owed, write_owed


def test_waits_are_doubled_up_to_the_longest():
    owed, waits = Owed("peer", ("a.dcm",)), []
    for _ in range(30):
        owed = owed.put_off(0.0)
        waits.append(owed.due)
    assert waits[:3] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT] and waits[-1] == LONGEST_WAIT
    assert owed.attempts == 30


def test_every_peer_gets_a_note_of_all_files(tmp_path):
    for name in ("b.dcm", "a.dcm", "notes.txt"):
        (tmp_path / name).touch()
    write_owed(tmp_path, [SimpleNamespace(name="one"), SimpleNamespace(name="two")])
    notes = [path for path in tmp_path.iterdir() if path.suffix not in (".dcm", ".txt")]
    assert sorted(Owed.read(path).peer for path in notes) == ["one", "two"]
    assert all(Owed.read(path).files == ("a.dcm", "b.dcm") for path in notes)
