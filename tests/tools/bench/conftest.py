"""An animal's folder, as its labelling program leaves it."""

import cv2
import numpy as np
import pytest

PICTURES, WIDTH, HEIGHT, VIDEO_FRAMES = 10, 64, 48, 20
HEAD = "scorer,me,me,me,me\nbodyparts,nose,nose,tail,tail\ncoords,x,y,x,y\n"


@pytest.fixture
def animal(tmp_path):
    folder = tmp_path / "animal"
    (folder / "labeled-data").mkdir(parents=True)
    (folder / "videos").mkdir()
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rng = np.random.default_rng(0)
    lines = []
    for number in range(PICTURES):
        cv2.imwrite(
            str(folder / f"labeled-data/img{number}.png"), rng.integers(0, 255, picture.shape, np.uint8)
        )
        tail = "," if number == 3 else "30.5,20"
        lines.append(f"labeled-data/img{number}.png,{number},7.25,{tail}\n")
    (folder / "CollectedData.csv").write_text(HEAD + "".join(lines))
    codec = cv2.VideoWriter_fourcc(*"mp4v")
    video = cv2.VideoWriter(str(folder / "videos" / "clip.mp4"), codec, 30, (WIDTH, HEIGHT))
    for number in range(VIDEO_FRAMES):
        video.write(np.full_like(picture, 10 * number))
    video.release()
    return folder
