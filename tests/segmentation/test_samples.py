"""Films and masks for the lungs' segmenter: what is read, mended, drawn and refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hf_pneumo.imaging.lungs import LungField
from hf_pneumo.imaging.phantom import phantoms
from hf_pneumo.segmentation import samples as collections
from hf_pneumo.segmentation.samples import STORED, blanks, drawn_masks, drawn_phantoms, join, machine_masks, own_masks


def test_drawn_masks_are_read_with_their_patients(tmp_path, mask_folder):
    samples = drawn_masks(mask_folder(tmp_path / "drawn"))
    assert samples.films.shape == samples.lungs.shape == (6, STORED, STORED) and samples.films.dtype == np.uint8
    assert samples.patients.tolist() == ["0", "0", "1", "1", "2", "2"] and samples.trusted.all()
    truth = next(iter(phantoms(1, seed=11, size=96))).lungs.mean()
    assert samples.lungs[0].mean() == pytest.approx(truth, abs=0.01)
    assert samples.select(samples.patients == "1").names.tolist() == ["film2", "film3"]


def test_a_folder_without_its_list_or_a_mask_is_refused(tmp_path, mask_folder):
    with pytest.raises(ValueError, match=r"has no masks\.csv"):
        drawn_masks(tmp_path)
    root = mask_folder(tmp_path / "drawn")
    (root / "masks/film3.png").unlink()
    with pytest.raises(FileNotFoundError, match="film3"):
        drawn_masks(root)
    (root / "masks.csv").write_text("file\nfilm0\n")
    with pytest.raises(ValueError, match="columns name and patient"):
        drawn_masks(root)


def test_a_machine_mask_loses_islands_and_holes_and_its_bays_are_disputed(tmp_path):
    mask = np.zeros((STORED, STORED), np.uint8)
    mask[40:150, 20:80] = mask[40:150, 110:170] = 255
    mask[60:80, 40:60] = 0  # a hole within
    mask[100:120, 150:170] = 0  # a bay in the right lung's outer wall, as an opacity leaves it
    mask[5:15, 5:15] = 255  # an island
    (tmp_path / "extra").mkdir()
    Image.fromarray(mask).save(tmp_path / "extra/00000007_001.png")
    Image.fromarray(np.full((STORED, STORED), 90, np.uint8)).save(tmp_path / "00000007_001.png")
    samples = machine_masks(tmp_path / "extra", tmp_path)
    lungs, trusted = samples.lungs[0], samples.trusted[0]
    assert lungs[70, 50] and not lungs[10, 10] and not lungs[110, 160]
    assert not trusted[110, 160] and trusted[70, 50] and trusted[10, 10] and trusted[70, 95]
    assert samples.patients.tolist() == ["00000007"] and samples.weight[0] == 0.5


def test_phantoms_and_blanks_are_the_same_for_a_seed():
    assert np.array_equal(drawn_phantoms(2, 3).films, drawn_phantoms(2, 3).films)
    pictures = [np.tile(np.arange(120, dtype=np.uint8), (80, 1))]
    empty = blanks(pictures, 5, 0)
    assert len(empty) == 10 and not empty.lungs.any() and len(blanks([], 5, 0)) == 5
    assert np.array_equal(empty.films, blanks(pictures, 5, 0).films)
    assert not np.array_equal(empty.films, blanks(pictures, 5, 1).films)
    both = join([empty, drawn_phantoms(2, 3)])
    assert len(both) == 12 and both.lungs[-1].any()


@pytest.mark.parametrize(("confidence", "learnt"), [(0.99, 3), (collections.SURE - 0.001, 0)])
def test_only_sure_masks_of_its_own_are_learnt_from(tmp_path, mask_folder, confidence, learnt):
    root = mask_folder(tmp_path / "films") / "images"
    pair = np.zeros((80, 80), np.float32)
    pair[20:60, 10:30] = pair[20:60, 50:70] = 1
    paths = sorted(root.iterdir())
    if not learnt:
        with pytest.raises(ValueError, match="no film of whose lungs"):
            own_masks(paths, 3, 0, lambda film: LungField(pair, confidence))
        return
    own = own_masks(paths, learnt, 0, lambda film: LungField(pair, confidence))
    assert len(own) == learnt == len(set(own.names)) and own.lungs[:, 100, 40].all() and not own.lungs[:, :, 96].any()


@pytest.mark.parametrize(
    ("right", "learnt"),
    [((20, 60, 20), True), ((20, 40, 20), False), ((20, 60, 8), False), ((5, 45, 20), False), ((20, 60, 0), False)],
    ids=["alike", "white base", "thin", "higher", "one lung"],
)
def test_two_lungs_alike_make_a_pair(right, learnt):
    top, bottom, width = right
    mask = np.zeros((80, 80), bool)
    mask[20:60, 10:30] = True
    mask[top:bottom, 50 : 50 + width] = True
    assert collections._is_pair(mask) == learnt
