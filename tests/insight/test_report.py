"""The report of a short run: complete, self-contained, and drawn by a real browser without a complaint."""

import html
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.roles.short_runs import metrics, pack_faces, train
from tsal_dist.data.shard_set import open_shards
from tsal_dist.insight.charts import Axes, Series, draw_bars, draw_lines, draw_rows, draw_shape
from tsal_dist.insight.curves import draw_curves
from tsal_dist.insight.gallery import VIEW_PX, mean_shape
from tsal_dist.insight.measured import measure
from tsal_dist.insight.provenance import read_provenance
from tsal_dist.insight.side_by_side import COLUMNS, GAP_PX, HEAD_PX, side_by_side
from tsal_dist.observe.snapshot import RankBeat
from tsal_dist.pseudo.step_plan import load_plans
from tsal_dist.run import load_run
from tsal_dist.run_dir import RunDir
from tsal_dist.shards.frames import read_frames

ROOT = Path(__file__).parents[2]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
VOID = {"meta", "link", "img", "input", "br", "circle", "line", "path", "rect"}


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    faces = pack_faces(folder / "faces")
    return train(faces, folder / "run"), train(faces, folder / "alone", "method.name=supervised")


@pytest.fixture(scope="module")
def report(short_run):
    done = subprocess.run(
        [sys.executable, ROOT / "tools/report.py", *map(str, short_run)],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    assert path == short_run[0] / "report" / "index.html"
    return path


def held_out(folder):
    """What the run is validated on."""
    return open_shards(list(load_run(folder).config.data.validation))


class Balance(HTMLParser):
    """Every tag that is opened is closed, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links = [], set(), set()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids |= {attributes["id"]} if "id" in attributes else set()
        if attributes.get("href", "").startswith("#"):
            self.links.add(attributes["href"][1:])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole(report):
    page = Balance()
    page.feed(report.read_text())
    assert page.open == []
    assert page.links == {
        "accuracy", "frames", "next", "training", "runs", "labels", "configuration", "limits"
    }  # fmt: skip
    assert page.links <= page.ids


def test_the_page_asks_nothing_of_any_network(report):
    text = report.read_text()
    assert "<script" not in text
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", text)
    assert not re.findall(r"url\(|@import|https?://", text)


def test_the_page_says_what_the_run_says(report, short_run):
    text = report.read_text()
    for model in ("run student", "run teacher", "alone student"):
        assert f"<td>{model}</td>" in text
    assert "alone teacher" not in text
    assert "8 / 8" in text
    assert "method.name" in text  # the compared runs differ in it
    # Both runs side by side; spread over the set; the worst and the best of two videos; those to label next.
    assert text.count("<img ") == 1 + 8 + 2 + 2 + 8
    assert text.index("Side by side") < text.index("Spread over the set")
    assert "Chance: one run is one seed." in text


def test_runs_are_drawn_below_each_other_the_first_one_last(short_run):
    models = [
        model for folder in short_run for model in measure(folder.name, load_run(folder), held_out(folder))
    ]
    picture = side_by_side(models)
    assert picture.shape == (2 * (HEAD_PX + VIEW_PX), COLUMNS * (VIEW_PX + GAP_PX) - GAP_PX, 3)
    above, below = np.split(picture[:, :VIEW_PX], 2)
    assert np.array_equal(above[:4], below[:4]), "the paper over the titles"
    assert not np.array_equal(above[HEAD_PX:], below[HEAD_PX:]), "other nets, other points"
    swapped = side_by_side([*models[-1:], *models[:-1]])
    assert np.array_equal(swapped[: HEAD_PX + VIEW_PX, :VIEW_PX], below)
    assert side_by_side(models[:2]) is None, "student and teacher of one run"


def test_provenance_counts_what_was_trained_on(short_run):
    found = read_provenance(RunDir(short_run[0]))
    plans = load_plans(short_run[0] / "metrics" / "plan.jsonl")
    assert found.trained_rows == sum(plan.fresh_rows + plan.reused_rows for plan in plans) > 0
    assert found.by_version.total() == found.by_producer.total() == found.trained_rows
    assert set(found.distances) == {"center", "track"}
    assert min(apart.min() for parts in found.distances.values() for apart in parts) >= 0
    assert found.opened == found.committed > 0
    assert (
        found.lost_by_reason.total()
        == found.dropped_by_video.total()
        == sum(sum(plan.reasons.values()) for plan in plans)
    )


def test_a_run_without_labels_has_no_provenance(short_run):
    assert read_provenance(RunDir(short_run[1])) is None


def test_every_number_of_the_run_is_in_the_glossary(short_run):
    text = (ROOT / "tsal_dist/observe/METRICS.md").read_text()
    known = re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)
    # <...> is filled in by the run; what surrounds it is not.
    patterns = [re.compile(re.sub(r"<\w+>", r"[a-z0-9_.]+", name)) for name in known]
    written = {
        name for role in ("student", "teacher") for line in metrics(short_run[0], role) for name in line
    }
    unknown = {name for name in written - {"step"} if not any(p.fullmatch(name) for p in patterns)}
    assert len(written) > 20
    assert unknown == set()


def test_a_page_without_validation_says_so(short_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(short_run[1], run)
    written = json.loads((run / "run.json").read_text())
    written["config"]["data"]["validation"] = []
    written["origin"] = {"run": "runs/elsewhere", "id": "0", "step": 7}
    (run / "run.json").write_text(json.dumps(written))
    from tsal_dist.insight.report import build_report

    text = build_report([run])
    assert "names no validation shards" in text
    assert "Begun from step 7 of runs/elsewhere." in text
    assert 'id="accuracy"' not in text


def screenshot(page, to, width, height, *flags):
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
         "--hide-scrollbars", "--enable-logging=stderr", f"--user-data-dir={to.parent / 'profile'}",
         f"--screenshot={to}", f"--window-size={width},{height}", *flags, page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return cv2.imread(str(to)), done.stderr


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_a_browser_draws_it_light_and_dark(report, tmp_path):
    light, said = screenshot(report, tmp_path / "light.png", 1200, 1600)
    dark, _ = screenshot(report, tmp_path / "dark.png", 1200, 1600, "--blink-settings=preferredColorScheme=0")
    assert "CONSOLE" not in said
    assert light.shape == dark.shape == (1600, 1200, 3)
    assert light[:, :10].mean() > 230  # paper at the edge
    assert dark[:, :10].mean() < 60
    # Something is drawn all the way down: no blank half.
    assert all(part.std() > 10 for part in np.array_split(light, 8))


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_nothing_sticks_out_of_a_phone(report, tmp_path):
    """A frame as wide as a phone; were the page wider, its right edge would show the cut-off content."""
    probe = tmp_path / "phone.html"
    probe.write_text(
        f'<body style="margin:0;background:#000"><iframe src="{report.as_uri()}" '
        'style="border:0;width:390px;height:1500px"></iframe></body>'
    )
    picture, _ = screenshot(probe, tmp_path / "phone.png", 600, 1500)
    assert picture[:, :390].mean() > 180
    edge = picture[200:, 378:390]  # the page's right margin
    assert edge.std() < 4


def test_charts_survive_what_runs_write():
    nan = np.array([1.0, np.nan, 3.0])
    steps = np.array([0.0, 10.0, 20.0])
    text = draw_lines(
        [Series("a<b", steps, nan), Series("flat", steps, np.zeros(3), 1)], Axes("x", "y", "t & t")
    )
    assert "a&lt;b" in text
    assert "t &amp; t" in text
    assert "nan" not in text
    assert "nan" not in draw_lines([Series("none", steps, np.full(3, np.nan))], Axes("x", "y", "t"))
    bars = draw_bars(np.array([0.0, 1.0, 2.0]), [("n", np.array([3.0, 0.0]), 0)], Axes("x", "y", "t"))
    assert bars.count("<rect") == 1
    shape = draw_shape(
        np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0.1, np.nan]), "t", ("nose", "tail"), [(0, 1)]
    )
    assert "10.00 % at nose" in shape
    assert shape.count("contour") == 1
    assert draw_curves(load_config(), [], {}) == "<p>Nothing was written down yet.</p>"


def test_every_crew_has_its_curves():
    student = [{"step": step, "memory/rss_gb": 1.0} for step in (10, 20)]
    crew = [{"step": step, "gate/teacher_nme": 0.1, "speed/labels_per_s": 5.0} for step in (10, 20)]
    parked = [{**line, "speed/parked_share": 0.3} for line in crew]
    page = draw_curves(load_config(), student, {"teacher": crew, "teacher-night": parked})
    assert "The teacher-night's time, %" in html.unescape(page)
    assert "The teacher's time" not in html.unescape(page), "of that one nothing is known"
    assert "Labels per second of rank 0" in page
    assert page.count("teacher-night") >= 3, "in the legends of errors and of labels, too"


@pytest.mark.parametrize(
    ("held_out", "judged"), [(("shards/val",), "held-out frames"), ((), "labels that they learn")]
)
def test_the_gates_chart_says_which_frames_it_is_of(held_out, judged):
    crew = [{"step": step, "gate/teacher_nme": 0.1, "gate/student_nme": 0.2} for step in (10, 20)]
    config = load_config()
    config = config.model_copy(update={"data": config.data.model_copy(update={"validation": held_out})})
    page = draw_curves(config, [{"step": 20}], {"teacher": crew})
    assert f"Teacher and student on the same few {judged} (NME), %" in page


def test_the_rank_that_holds_most_comes_first():
    held = [
        RankBeat(1, 1, "train", 9, "", {"memory/rss_gb": gb}, role="student", rank=rank)
        for rank, gb in enumerate((1.0, 5.5))
    ]
    page = draw_curves(load_config(), [{"step": 10}], {}, held)
    assert page.index("<td>student 1</td><td>5.50</td>") < page.index("<td>student 0</td><td>1.00</td>")
    assert "on its GPU" not in page, "where there is none"
    on_gpus = [replace(one, memory={**one.memory, "memory/gpu_peak_gb": 40.0}) for one in held]
    assert "<td>5.50</td><td>40.00</td>" in draw_curves(load_config(), [{"step": 10}], {}, on_gpus)


def load_config():
    from tsal_dist.config import RunConfig

    return RunConfig()


def test_the_mean_face_does_not_mind_how_faces_are_turned(rng):
    shape_K2 = rng.normal(size=(5, 2))
    angles = rng.uniform(-0.6, 0.6, 20)
    turns = np.stack([np.stack([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) for a in angles])
    faces_NK2 = (shape_K2 @ turns) * rng.uniform(1, 3, (20, 1, 1)) + rng.normal(size=(20, 1, 2))
    mean_K2 = mean_shape(faces_NK2, np.ones((20, 5), bool))

    def distances(points):
        apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
        return apart / apart.max()

    np.testing.assert_allclose(distances(mean_K2), distances(shape_K2), atol=1e-6)
    assert mean_shape(faces_NK2, np.zeros((20, 5), bool)) is None


def test_the_first_sentence_can_be_checked_by_hand(short_run, report):
    """What a newcomer reads is what the models did: the number, what it is divided by, what not looking would give."""
    import numpy as np

    from tsal_dist.data.shard_set import open_shards
    from tsal_dist.insight.measured import blind_error, measure, some_frames, spread, video_errors
    from tsal_dist.run import load_run

    run = load_run(short_run[0])
    model = measure("run", run, open_shards(list(run.config.data.validation)))[0]
    errors = model.found.errors
    text = report.read_text()
    assert f"lie {100 * errors.nme:.1f} % of the distance between the outer eye corners" in text
    by_video = video_errors(model.found)
    assert sum(map(len, by_video.values())) == errors.faces
    assert np.mean([nme for each in by_video.values() for nme in each]) == pytest.approx(errors.nme)
    means = [np.mean(each) for each in by_video.values()]
    assert spread(model.found) == pytest.approx(abs(means[0] - means[1]) / 2), "of two videos"
    # By hand: every training label's points as shares of its box, averaged, and put into each box that is held out.
    few = some_frames(model, 64)
    (manifest,) = open_shards(run.config.data.labelled).manifests
    labels = [read_frames(manifest.parquet_url(number)) for number in range(len(manifest.shards))]
    share_NK2 = np.concatenate(
        [
            (one.points_NK2 - one.box_N4[:, None, :2]) / (one.box_N4[:, 2:] - one.box_N4[:, :2])[:, None]
            for one in labels
        ]
    )
    seen_NK = np.concatenate([(one.visible_NK > 0) & one.labelled_N[:, None] for one in labels])
    mean_K2 = np.where(seen_NK[..., None], share_NK2, 0).sum(0) / seen_NK.sum(0)[:, None]
    found = []
    for one in few:
        eyes = one.visible_K[36] and one.visible_K[45]
        if eyes:
            guess_K2 = mean_K2 * (one.box_4[2:] - one.box_4[:2]) + one.box_4[:2]
            apart = np.linalg.norm(guess_K2 - one.truth_K2, axis=1)[one.visible_K].mean()
            found.append(apart / np.linalg.norm(one.truth_K2[36] - one.truth_K2[45]))
    assert blind_error(model) == pytest.approx(np.mean(found), rel=1e-5)
    assert f"the average shape of the labels put into every box is {100 * np.mean(found):.1f} %" in text


def test_pictures_and_charts_say_their_values_in_words(report):
    text = report.read_text()
    assert re.search(
        r'aria-label="How many frames stay under which error\. run student: from 0 at 0 to [\d.]+ at', text
    )
    assert re.search(r'aria-label="Median error per video[^"]*: [\d.]+ %; ', text)
    assert re.findall(r'<img alt="[^"]+ frame \d+, student [\d.]+ %, teacher [\d.]+ %"', text)
    assert 'alt=""' not in text


def test_what_only_we_read_is_folded(report):
    text = report.read_text()
    details = re.compile(r"<details>.*?</details>", re.DOTALL)
    folded, rest = "".join(details.findall(text)), details.sub("", text)
    for title in (
        "Rows that wait in the queue",
        "Age of the labels",
        "Memory of rank 0",
        "Steps per second",
        "Producers",
    ):
        assert title in folded
        assert title not in rest
    assert "Error of the student on held-out frames" in rest


def test_two_numbers_are_not_joined_and_no_tick_is_cut_off():
    steps = np.array([0.0, 20000.0])
    text = draw_lines([Series("two", steps, np.array([1.0, 2.0]))], Axes("step", "", "t"))
    assert "<path" not in text
    assert text.count("<circle") == 2
    assert re.search(r'x="418.0" y="\d+" text-anchor="end">20k<', text)
    joined = draw_lines([Series("three", np.arange(3.0), np.arange(3.0))], Axes("step", "", "t"))
    assert "<path" in joined


def test_a_video_s_row_says_its_median_and_its_worst_frame():
    text = draw_rows([("a/b.avi", 4.0, 9.0, "a/b.avi: 3 frames"), ("c", 2.0, 2.0, "c")], "hard", "%")
    widths = [float(width) for width in re.findall(r'<rect[^>]* width="([\d.]+)"', text)]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
    assert "4.0 %" in text
    assert 'aria-label="hard. a/b.avi: 4.0 %; c: 2.0 %"' in text


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_a_clicked_picture_grows_and_a_hidden_model_goes(report, tmp_path):
    from tests.browser import open_tab

    with open_tab(tmp_path / "profile") as tab:
        tab.open(report.as_uri(), 1300, 900)
        width = "document.querySelector('.photo img').getBoundingClientRect().width"
        small = tab.run(width)
        tab.run("document.querySelector('.photo input').click()")
        assert tab.run(width) > 2 * small
        shown = "getComputedStyle(document.querySelector('.layer1')).display"
        assert tab.run(shown) != "none"
        tab.run("document.getElementById('show1').click()")
        assert tab.run(shown) == "none"
        for dark in (False, True):
            tab.open(report.as_uri(), 390, 800, dark=dark)
            assert tab.run("document.documentElement.scrollWidth") == 390
        assert tab.complaints() == []
