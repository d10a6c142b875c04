"""An animal's folder: its table, its folds, and what is packed of it."""

import numpy as np
import pytest

from tests.tools.bench.conftest import HEAD, HEIGHT, PICTURES, WIDTH
from tools.bench.accuracy.animal import FOLDS, deal, draw, make_animal
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.once import read_all
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError
from tsal_dist.shards.manifest import open_manifest


def read(url):
    view = ViewSettings(64, 0.0)
    return [clip for (clip,) in read_all(open_shards([url]), view, "labelled", 1)]


def test_a_folder_without_enough_is_refused(animal, tmp_path):
    table = animal / "CollectedData.csv"
    table.write_text(HEAD + "labeled-data/img0.png,1,2,3,4\n")
    with pytest.raises(ConfigError, match="has 1 labelled pictures; 5 folds need 10"):
        make_animal(animal, tmp_path / "out", [3], steps=10, repeats=5)
    table.unlink()
    with pytest.raises(ConfigError, match=r"There is no .*Name the folder"):
        make_animal(animal, tmp_path / "out", [3], steps=10, repeats=5)


def test_every_picture_is_held_out_once():
    heaps = deal(92)
    assert len(heaps) == FOLDS
    assert sorted(place for heap in heaps for place in heap) == list(range(92))
    assert {len(heap) for heap in heaps} == {18, 19}
    assert heaps == deal(92)


def test_few_labels_are_part_of_many():
    places = list(range(10, 50))
    few, many = draw(places, 5, fold=2), draw(places, 20, fold=2)
    assert set(few) < set(many) < set(places)
    assert few != draw(places, 5, fold=3)


@pytest.mark.slow
def test_folds_are_packed_with_the_whole_picture_as_box(animal, tmp_path):
    data = make_animal(animal, tmp_path / "out", [3, 100], steps=10, repeats=5)
    assert data.amounts == ("3", "8"), "all that a fold has"
    assert open_manifest(data.folds[0].test).layout.names == ("nose", "tail")
    held_out = []
    for fold in data.folds:
        assert [open_manifest(fold.labelled[amount]).labelled for amount in data.amounts] == [3, 8]
        train, test = ({clip.video for clip in read(url)} for url in (fold.labelled["8"], fold.test))
        assert not train & test
        held_out += sorted(test)
    assert sorted(held_out) == sorted(f"labeled-data/img{number}.png" for number in range(PICTURES))
    assert open_manifest(data.folds[0].unlabelled).frames == 16
    assert open_manifest(data.video).frames == 4
    assert open_manifest(data.video).labelled == 0

    (three,) = [clip for fold in data.folds for clip in read(fold.test) if clip.video.endswith("img3.png")]
    np.testing.assert_allclose(three.box_4, [0, 0, WIDTH - 1, HEIGHT - 1], atol=1)
    assert three.visible_TK[0].tolist() == [True, False]


def test_what_is_packed_is_kept(animal, tmp_path):
    first = make_animal(animal, tmp_path / "out", [3], steps=10, repeats=5)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")}
    assert make_animal(animal, tmp_path / "out", [3], steps=10, repeats=5) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")} == times


def test_without_video_there_is_nothing_to_compare(animal, tmp_path):
    (animal / "videos" / "clip.mp4").unlink()
    with pytest.raises(ConfigError, match=r"no \.mp4"):
        make_animal(animal, tmp_path / "out", [3], steps=10, repeats=5)
