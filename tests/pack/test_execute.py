import io
import tarfile

import numpy as np
import pytest
import webdataset
from footage import POINTS_K2, files_of, make_300vw, make_image, make_video, pts_text
from packing import pack_all, plan_of

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack.execute import _build_chains, pack
from tsal_dist.pack.gather import gather_inputs
from tsal_dist.pack.lint import lint_folder
from tsal_dist.pack.packing_plan import PackOptions
from tsal_dist.pack.retry import plan_retry
from tsal_dist.shards import files
from tsal_dist.shards.frames import read_frames
from tsal_dist.shards.index import read_index
from tsal_dist.shards.names import split_key


class Crash(BaseException):
    """What no handler catches."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for number in range(3):
        make_300vw(root, f"00{number}", 14, seed=number)
    make_video(root / "long.mp4", 35)
    (root / "boxes.csv").write_text("path,x1,y1,x2,y2\nlong.mp4,5,5,40,40\n")
    return root


def pack_videos(videos, out, **arguments):
    return pack_all(out, [videos], gather={"boxes": videos / "boxes.csv"}, **arguments)


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    """An uninterrupted run with one worker."""
    return pack_videos(videos, tmp_path_factory.mktemp("whole"))


def test_three_workers_give_the_same_bytes(videos, whole, tmp_path):
    pack_videos(videos, tmp_path, workers=3)
    assert files_of(tmp_path / "train") == files_of(files.local_path(whole.manifest.url))


def test_the_manifest_says_what_the_annotations_called_the_first_pixel(videos, whole, tmp_path):
    """300VW counts from 1: points are stored one less, and the folder says so; boxes alone are no annotation of points."""
    assert whole.manifest.first_pixel == (1,)
    table = read_frames(whole.manifest.parquet_url(0))
    np.testing.assert_allclose(table.points_NK2[0], POINTS_K2 + 0.25, atol=1e-5)
    text = (videos / "000/annot/000001.pts").read_text().splitlines()
    assert [float(word) for word in text[3].split()] == pytest.approx((POINTS_K2[0] + 1.25).tolist())
    unlabelled = pack_all(tmp_path, videos=[videos / "long.mp4"], box="full")
    assert unlabelled.manifest.first_pixel == ()


def test_a_crash_between_any_two_files_loses_nothing(videos, whole, tmp_path, monkeypatch):
    """Every move into the folder fails once; the next run goes on, and the end is what one run gives."""
    move = files.put_file
    left, crashes = 0, 0

    def put_file(aside, url, durable=True):
        nonlocal left
        left -= 1
        if not left:
            raise Crash
        move(aside, url, durable)

    monkeypatch.setattr(files, "put_file", put_file)
    for moves in range(1, 100):
        left = moves
        try:
            pack_videos(videos, tmp_path)
            break
        except Crash:
            crashes += 1
    assert crashes >= 6
    assert files_of(tmp_path / "train") == files_of(files.local_path(whole.manifest.url))


def test_a_finished_folder_is_left_alone(videos, whole):
    before = files_of(files.local_path(whole.manifest.url))
    again = pack_videos(videos, files.parent(whole.manifest.url))
    assert again.progress.frames_before == again.progress.frames
    assert files_of(files.local_path(whole.manifest.url)) == before


@pytest.mark.parametrize("extension", ["tar", "idx", "parquet", "json"])
def test_a_lost_or_torn_file_is_made_again(videos, whole, tmp_path, extension):
    pack_videos(videos, tmp_path)
    victim = tmp_path / f"train/train-00001.{extension}"
    if extension in ("tar", "json"):
        victim.write_bytes(victim.read_bytes()[:-512])
    else:
        victim.unlink()
    pack_videos(videos, tmp_path)
    assert files_of(tmp_path / "train") == files_of(files.local_path(whole.manifest.url))


@pytest.mark.parametrize("option", [{"quality": 80}, {"stride": 2}, {"shard_frames": 11}, {"labelled": 0.5}])
def test_another_plan_in_the_same_folder_is_refused(videos, whole, option):
    with pytest.raises(
        ConfigError, match=f"option {next(iter(option))} was .* and is {next(iter(option.values()))}"
    ):
        pack_videos(videos, files.parent(whole.manifest.url), **option)


def test_other_inputs_in_the_same_folder_are_refused(videos, whole):
    with pytest.raises(ConfigError, match="content of the inputs was"):
        pack_all(files.parent(whole.manifest.url), [videos / "000"])


def test_a_folder_of_somebody_else_is_refused(videos, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/000.tar").touch()
    with pytest.raises(ConfigError, match="not made by this packer"):
        pack_videos(videos, tmp_path)


def test_a_second_packer_is_refused(videos, tmp_path, monkeypatch):
    monkeypatch.setattr("tsal_dist.pack.workplace._PATIENCE_S", 0.1)
    plan = plan_of([videos / "000"])

    def pack_again(_):
        pack(plan, f"{tmp_path}/train")

    with pytest.raises(ConfigError, match="Another packer"):
        pack(plan, f"{tmp_path}/train", on_shard=pack_again)


def test_a_video_in_two_splits_is_refused(videos, tmp_path):
    copy = tmp_path / "copy/other_name.avi"
    copy.parent.mkdir()
    copy.write_bytes((videos / "001/vid.avi").read_bytes())
    pack_all(tmp_path / "out", [videos / "001"])
    with pytest.raises(ConfigError, match=r"other_name\.avi is also in .*train, as vid\.avi"):
        pack_all(tmp_path / "out", [copy], split="test", box="full")
    assert not (tmp_path / "out/test/manifest.json").exists()
    pack_all(tmp_path / "out", [videos / "002"], split="test")
    with pytest.raises(ConfigError, match="two splits"):
        pack_all(tmp_path / "elsewhere", [copy], box="full", run={"apart_from": [f"{tmp_path}/out/train"]})


def test_an_image_in_two_splits_is_refused(tmp_path):
    make_image(tmp_path / "a.png")
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text("a.png None 1 1 30 30\n")
    pack_all(tmp_path / "out", lists=[tmp_path / "one.txt"])
    with pytest.raises(ConfigError, match="two splits"):
        pack_all(tmp_path / "out", lists=[tmp_path / "two.txt"], split="test")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves files open
def test_webdataset_reads_every_frame(whole):
    urls = [whole.manifest.tar_url(number) for number in range(len(whole.manifest.shards))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    assert len(samples) == whole.manifest.frames == 3 * 14 + 35
    labelled = [sample for sample in samples if "points" in sample["json"]]
    assert len(labelled) == whole.manifest.labelled == 42
    assert labelled[0]["jpg"].shape == (48, 64, 3)
    assert split_key(labelled[0]["__key__"]) == ("000/vid%2Eavi", 0)


def test_index_tar_and_table_agree_and_a_clip_is_one_read(whole):
    for number, shard in enumerate(whole.manifest.shards):
        data = files.read_bytes(whole.manifest.tar_url(number))
        index = read_index(whole.manifest.idx_url(number), len(data))
        table = read_frames(whole.manifest.parquet_url(number))
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            infos = [info for info in tar if info.name.endswith(".jpg")]
        assert [(info.offset_data, info.size) for info in infos] == index[["jpg_offset", "jpg_size"]].tolist()
        assert len(table) == len(index) == shard.frames
        for segment in shard.segments:
            first, last = index[segment.start], index[segment.start + segment.frames - 1]
            span = data[first["jpg_offset"] : last["jpg_offset"] + last["jpg_size"]]
            assert span.count(b"\xff\xd8\xff") == segment.frames


def test_labels_belong_to_their_frames(whole):
    for number in range(len(whole.manifest.shards)):
        table = read_frames(whole.manifest.parquet_url(number))
        for row in np.flatnonzero(table.labelled_N):
            assert np.allclose(table.points_NK2[row], POINTS_K2 + (table.frame_N[row] + 1) * 0.25)


def test_lists_of_video_frames_pack_only_these(videos, tmp_path):
    (tmp_path / "note.pts").write_text(pts_text())
    lines = [f"000/vid.avi#{n:06d} {tmp_path}/note.pts 1 1 30 30" for n in (2, 4, 6, 9)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    outcome = pack_all(tmp_path / "out", lists=[tmp_path / "list.txt"], gather={"root": videos})
    table = read_frames(outcome.manifest.parquet_url(0))
    assert table.frame_N.tolist() == [1, 3, 5, 8]
    steps = [(s.first_frame, s.frame_step, s.frames) for s in outcome.manifest.shards[0].segments]
    assert steps == [(1, 2, 3), (8, 1, 1)]


def test_a_listed_frame_beyond_the_end_is_a_failed_row(videos, tmp_path):
    (tmp_path / "list.txt").write_text("000/vid.avi#000014 None 1 1 9 9\n000/vid.avi#000015 None 1 1 9 9\n")
    outcome = pack_all(tmp_path / "out", lists=[tmp_path / "list.txt"], gather={"root": videos})
    assert [(row.status, row.stored) for row in outcome.sources] == [("truncated", 1)]


def test_stills_share_a_segment_and_faces_their_picture(tmp_path):
    make_image(tmp_path / "a.png", seed=1)
    make_image(tmp_path / "b.png", seed=2)
    (tmp_path / "c.png").write_bytes(b"not an image")
    (tmp_path / "a.pts").write_text(pts_text())
    lines = [
        "a.png a.pts 1 1 30 30",
        "a.png None 30 1 60 30",
        "b.png None 1 1 30 30 17",
        "c.png None 1 1 30 30",
    ]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    outcome = pack_all(tmp_path / "out", lists=[tmp_path / "list.txt"])
    (segment,) = outcome.manifest.shards[0].segments
    assert (segment.kind, segment.frames, segment.labelled) == ("stills", 3, "0")
    table = read_frames(outcome.manifest.parquet_url(0))
    assert [(table.videos[v], f) for v, f in zip(table.video_N, table.frame_N, strict=True)] == [
        ("a.png", 0), ("a.png", 1), ("b.png", 0)
    ]  # fmt: skip
    assert table.face_px_N.tolist() == [29, pytest.approx((30 * 29) ** 0.5), 17]
    assert [row.name for row in outcome.bad] == ["c.png"]


def test_numbered_images_are_a_video(tmp_path):
    for number in (1, 2, 3):
        make_image(tmp_path / f"001/extraction/{number:06d}.png", seed=number)
    lines = [f"001/extraction/{number:06d}.png None 1 1 30 30" for number in (1, 2, 3)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    outcome = pack_all(tmp_path / "out", lists=[tmp_path / "list.txt"], gather={"sequences": True})
    (segment,) = outcome.manifest.shards[0].segments
    assert (segment.kind, segment.video, segment.first_frame, segment.frames) == (
        "video",
        "001/extraction",
        1,
        3,
    )


def test_frames_of_another_size_begin_a_segment_of_their_own(tmp_path):
    """A clip is read through one matrix, and a box of the one lies elsewhere in the other."""
    sizes = [(64, 48), (64, 48), (128, 96), (128, 96)]
    for number, size in enumerate(sizes):
        make_image(tmp_path / f"{number}.png", size, seed=number)
    lines = [f"{number}.png None 1 1 30 30" for number in range(4)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    outcome = pack_all(tmp_path / "out", lists=[tmp_path / "list.txt"], gather={"sequences": True})
    segments = outcome.manifest.shards[0].segments
    assert [(one.first_frame, one.frames) for one in segments] == [(0, 2), (2, 2)]


def test_mended_inputs_go_into_further_shards(videos, tmp_path):
    data = tmp_path / "data"
    good = make_300vw(data, "000", 6)
    (data / "001").mkdir()
    (data / "001/vid.avi").touch()
    first = pack_all(tmp_path / "out", [data])
    assert [row.name for row in first.bad] == ["001/vid.avi"]

    (data / "001/vid.avi").unlink()
    (data / "001").rmdir()
    make_300vw(data, "001", 6, seed=5)
    inputs, options = gather_inputs(videos=[data]), PackOptions("train", shard_frames=10)
    with pytest.raises(ConfigError, match="options of the first run"):
        plan_retry(inputs, PackOptions("train", shard_frames=9), first.manifest.url)
    plan, closed = plan_retry(inputs, options, first.manifest.url)
    before = files_of(tmp_path / "out/train")
    second = pack(plan, first.manifest.url, earlier=closed)
    after = files_of(tmp_path / "out/train")
    assert all(after[name] == data for name, data in before.items() if name.startswith("train-00000"))
    assert [shard.name for shard in second.manifest.shards] == ["train-00000", "train-00001"]
    assert [row.status for row in second.sources] == ["ok", "ok"]
    assert lint_folder(second.manifest.url) == []
    assert good.exists()
    with pytest.raises(ConfigError, match="no input to retry"):
        plan_retry(inputs, options, first.manifest.url)


def test_a_dead_worker_is_a_clear_error(videos, tmp_path, monkeypatch):
    plan = plan_of([videos / "long.mp4"], box="full")
    broken = tmp_path / "model.onnx"
    with pytest.raises(DataError, match="packing process died"):
        pack(plan, f"{tmp_path}/train", workers=2, subject_model=str(broken))
    assert not (tmp_path / "train/.packing").exists()


def test_chains_keep_a_long_video_together_unless_workers_would_idle(videos):
    shards = plan_of([videos / "long.mp4"], box="full", shard_frames=5).shards
    assert [len(chain) for chain in _build_chains(shards, 1)] == [7]
    assert sorted(len(chain) for chain in _build_chains(shards, 3)) == [1, 3, 3]
    apart = plan_of([videos], box="full", shard_frames=35).shards
    assert [len(chain) for chain in _build_chains(apart, 1)] == [1] * len(apart)
