"""The command `tsal boxes`."""

import pytest

from tests.pack.footage import make_video
from tsal_dist.door import main
from tsal_dist.errors import ConfigError
from tsal_dist.models.box_net import open_box_net


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Two labelled videos, and one labelled as showing nobody."""
    monkeypatch.setattr("sys.argv", ["tsal"])
    for seed, name in enumerate("abc"):
        make_video(tmp_path / "videos" / f"{name}.avi", seed=seed)
    rows = [f"{name}.avi,{frame},10,10,{30 + frame},40\n" for name in "ab" for frame in (2, 5)]
    rows += ["c.avi,3,,,,\n", "a.avi,5,40,2,60,20\n"]
    (tmp_path / "labels.csv").write_text("path,frame,nose_x,nose_y,tail_x,tail_y\n" + "".join(rows))
    return tmp_path


def words(desk, *more):
    where = ["--videos", str(desk / "videos"), "--labels", str(desk / "labels.csv")]
    return ["boxes", *where, "--out", str(desk / "new" / "b.safetensors"), "--detector", "lite", *more]


def test_a_dry_run_says_what_would_be_learnt_and_writes_nothing(desk, capsys):
    assert main(words(desk, "--dry-run")) == 0
    said = capsys.readouterr().out
    assert "3 frames of 2 videos or pictures with" in said
    assert "1 without any; is measured on 2 frames of 1 videos" in said
    assert not (desk / "new").exists()


def test_a_video_under_two_names_is_not_learnt_and_measured_on(desk):
    (desk / "videos" / "b.avi").write_bytes((desk / "videos" / "a.avi").read_bytes())
    with pytest.raises(ConfigError, match="have the same content, and one would be trained on"):
        main(words(desk, "--dry-run"))


def test_it_writes_a_file_and_says_how_good_it_is(desk, capsys):
    assert main(words(desk, "--steps", "2", "--side", "64")) == 0
    said = capsys.readouterr()
    net, note = open_box_net(desk / "new" / "b.safetensors")
    assert "lite at 64 px; on 1 held-out video (2 frames) it finds " in said.out
    assert (note.side_px, note.detector, note.frames) == (64, "lite", 2)
    assert note.labels in said.out
    assert f"it finds {100 * note.recall:.0f} % of {note.subjects} subjects" in said.out
    assert note.recall < 0.7, "two steps"
    assert "That is little: label more frames, or give it more --steps" in said.out
    assert "2/2 steps" in said.err
    assert "/s" in said.err


def test_frames_that_cannot_be_read_are_counted(desk, capsys):
    with open(desk / "labels.csv", "a") as file:
        file.write(
            "a.avi,99,10,10,30,40\na.avi,7,10,10,3000,40\nb.avi,99,10,10,30,40\nb.avi,7,10,10,3000,40\n"
        )
    main(words(desk, "--steps", "1", "--side", "64"))
    assert "4 of 9 labelled frames are left out: they cannot be read" in capsys.readouterr().err


def test_without_its_package_another_net_is_offered(desk, monkeypatch):
    monkeypatch.setattr("tsal_dist.models.published.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="is not installed.*--detector lite"):
        main([*words(desk)[:-1], "lite0"])


def test_pictures_need_no_videos(desk, capsys):
    from tests.pack.footage import make_image

    for number in range(4):
        make_image(desk / f"{number}.png", seed=number)
    lines = [f"{number}.png,4,4,30,30\n" for number in range(4)]
    (desk / "boxes.csv").write_text("path,x1,y1,x2,y2\n" + "".join(lines))
    argv = ["boxes", "--labels", str(desk / "boxes.csv"), "--out", str(desk / "b.safetensors"), "--dry-run"]
    assert main(argv) == 0
    assert "learns from 3 frames of 3 videos or pictures with 3 subjects" in capsys.readouterr().out
