"""A run on WebDataset tars that somebody else made: named in the config, indexed on the spot, trained on."""

import io
import tarfile

import pytest

from tests.roles.short_runs import metrics, short_config, train
from tsal_dist import adapt
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError
from tsal_dist.run import open_run
from tsal_dist.runs import named_shards as page
from tsal_dist.runs.open_data import open_data
from tsal_dist.shards.manifest import open_manifest


@pytest.fixture
def foreign(faces, tmp_path):
    """The tars of the training shards alone, their members named as others name theirs."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    manifest = open_manifest(faces.train)
    for number in range(len(manifest.shards)):
        with (
            tarfile.open(manifest.tar_url(number)) as ours,
            tarfile.open(folder / f"{number:03d}.tar", "w") as theirs,
        ):
            for member in ours:
                data = ours.extractfile(member).read()
                video, _, rest = member.name.rpartition("-")
                info = tarfile.TarInfo(f"{video}/{rest}")
                info.size = len(data)
                theirs.addfile(info, io.BytesIO(data))
    return folder


def test_they_are_what_our_own_shards_are(faces, foreign, tmp_path):
    words = [f"data.labelled={foreign}", f"data.unlabelled={foreign}"]
    opened = open_data(short_config(faces, tmp_path / "run", "method.name=tsal", *words))
    ours = open_shards([faces.train])
    for shard in range(len(ours)):
        assert [(part.kind, part.frames, part.labelled) for part in opened.labelled.segments(shard)] == [
            (part.kind, part.frames, part.labelled) for part in ours.segments(shard)
        ]
    assert opened.labelled.points == 68


def test_a_folder_that_cannot_be_written_to_is_named(faces, foreign, tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(page, "index_folder", refuse)
    with pytest.raises(
        ConfigError, match=r"data\.labelled names .*foreign', which holds tars without an index"
    ):
        open_data(short_config(faces, tmp_path / "run", f"data.labelled={foreign}"))


def test_they_are_footage_to_adapt_to(faces, foreign, tmp_path):
    run = open_run(short_config(faces, tmp_path / "run", "method.name=supervised"), "new")
    words = [str(run.dir.root), "--footage", str(foreign)]
    config = adapt.adapted(adapt.build_parser().parse_intermixed_args(words))
    assert config.data.labelled == (faces.train, str(foreign)), "some of them are labelled"


@pytest.mark.ranks
@pytest.mark.slow
def test_teacher_and_student_learn_from_them(faces, foreign, tmp_path):
    words = [f"data.labelled={foreign}", f"data.unlabelled={foreign}"]
    run = train(faces, tmp_path / "run", "method.name=tsal", "train.steps=5", *words)
    lines = metrics(run)
    assert lines[-1]["step"] == 5
    assert [line["weight/point"] > 0 for line in lines if "weight/point" in line][-1:] == [True], (
        "labels were used"
    )
    assert metrics(run, "teacher")
