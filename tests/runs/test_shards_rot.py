"""Shards that rot on this machine's disk under a run: found before training comes to them, and said in a sentence."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.marks import against_the_clock
from tests.roles.small_world import World
from tests.runs.jobs import committed, log_text, notes
from tsal_dist.errors import DataError, ExitCode
from tsal_dist.shards.index import decode_index
from tsal_dist.shards.manifest import open_manifest


def spoil(folder):
    """Flip a bit of the last tar that no reader of frames ever looks at: only the whole's digest tells."""
    tar = max(folder.glob("*.tar"))
    index, _ = decode_index(tar.with_suffix(".idx").read_bytes(), str(tar))
    data = bytearray(tar.read_bytes())
    data[int(index["json_offset"][-1])] ^= 1
    tar.write_bytes(bytes(data))
    return tar


@against_the_clock
@pytest.mark.ranks
@pytest.mark.slow
def test_a_bit_that_flipped_in_a_tar_ends_the_run_with_a_sentence(faces, jobs, tmp_path):
    mine = replace(faces, train=str(shutil.copytree(faces.train, tmp_path / "train")))
    tar = spoil(Path(mine.train))
    run = tmp_path / "run"
    job = jobs.inline(mine, run, "train.steps=4000")
    assert job.finish() == ExitCode.FAILED, job.output
    assert "Traceback" not in job.output
    last = job.output.strip().splitlines()[-1]
    assert last.startswith(f"error: {tar} has the digest ")
    assert "its manifest says" in last
    assert "Fetch or pack the shards again" in last
    assert notes(run) == {"student": ExitCode.FAILED}

    calm = tmp_path / "calm"
    job = jobs.inline(mine, calm, "data.spot_check_mb_s=0")
    assert job.finish() == ExitCode.DONE, "which nothing else would have found"
    assert committed(calm)


@against_the_clock
@pytest.mark.ranks
@pytest.mark.slow
def test_a_run_says_that_its_tars_are_whole(faces, jobs, tmp_path):
    run = tmp_path / "run"
    tars = sum(len(open_manifest(url).shards) for url in (faces.train, faces.held_out))
    assert jobs.torchrun(faces, run, 2, "train.steps=40").finish() == 0
    words = f"{tars} tars ("
    assert (words in log_text(run, "student"), words in log_text(run, "teacher")) == (True, False), (
        "one process of a machine looks"
    )


def test_no_checkpoint_is_written_once_shards_are_known_to_differ():
    world = World("runtime.checkpoint.every=10")
    world.start_teacher()
    loop = world.student_loop()

    def differ():
        raise DataError("a tar has another digest")

    world.clock.at(25.0, lambda: setattr(loop.upkeep, "require_sound_shards", differ))
    with pytest.raises(DataError, match="another digest"):
        loop.run()
    assert world.saved["student"].committed() == [10, 20]
