import pytest
from footage import pts_text

from tsal_dist.errors import ConfigError
from tsal_dist.pack import layouts
from tsal_dist.pack.layouts import LAYOUTS, read_layout, recognise


def fake_300w(root, counts):
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for number in range(count):
            (root / folder / f"{number}.jpg").touch()
            (root / folder / f"{number}.pts").write_text(pts_text())
    (root / "afw" / "0_mirror.jpg").touch()
    (root / "ibug" / "image_092 _01.jpg").touch()
    (root / "ibug" / "image_092 _01.pts").write_text(pts_text())


W300 = {
    "afw": 337,
    "helen/trainset": 2000,
    "lfpw/trainset": 811,
    "helen/testset": 330,
    "lfpw/testset": 224,
    "ibug": 134,
}


@pytest.mark.slow
def test_the_four_parts_of_300w(tmp_path):
    fake_300w(tmp_path, W300)
    assert recognise(tmp_path) == "300W"
    counts = {part: len(read_layout(tmp_path, part)) for part in LAYOUTS["300W"]}
    assert counts == {"train": 3148, "common": 554, "challenge": 135, "full": 689}


def test_a_part_that_is_not_whole_is_refused_unless_it_is_meant(tmp_path):
    fake_300w(tmp_path, dict.fromkeys(W300, 2))
    with pytest.raises(ConfigError, match="has 6 images and not 3148"):
        read_layout(tmp_path, "train")
    assert len(read_layout(tmp_path, "train", any_count=True)) == 6


def test_the_four_parts_of_300vw(tmp_path):
    every = [layouts.VW300_TRAIN, layouts.VW300_TEST_1, layouts.VW300_TEST_2, layouts.VW300_TEST_3]
    names = {name for part in every for name in part}
    assert len(names) == 114
    for name in names:
        (tmp_path / name / "annot").mkdir(parents=True)
        (tmp_path / name / "vid.avi").touch()
        (tmp_path / name / "annot/000001.pts").write_text(pts_text())
    assert recognise(tmp_path) == "300VW"
    counts = {part: len(read_layout(tmp_path, part)) for part in LAYOUTS["300VW"]}
    assert counts == {"train": 50, "test-1": 31, "test-2": 19, "test-3": 14}
    assert all(one.annotations == 1 for one in read_layout(tmp_path, "test-3"))


def test_aflw_lists_are_counted_by_face(tmp_path):
    for split, count in (("train", 20000), ("test", 4386)):
        lines = (f"{split}/{n // 2}.jpg None {n % 2} 0 20 20 15\n" for n in range(count))
        (tmp_path / f"aflw.{split}.GTB").write_text("".join(lines))
    assert recognise(tmp_path) == "AFLW"
    inputs = read_layout(tmp_path, "train")
    assert len(inputs) == 10000
    assert sum(len(one.labels) for one in read_layout(tmp_path, "test")) == 4386


def test_an_unknown_part_or_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="none of 300W, 300VW, AFLW"):
        read_layout(tmp_path, "train")
    fake_300w(tmp_path, dict.fromkeys(W300, 1))
    with pytest.raises(ConfigError, match="train, common, challenge, full"):
        read_layout(tmp_path, "test-1")
