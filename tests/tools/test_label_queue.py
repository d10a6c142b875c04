"""The command line over a queue, as a user runs it; and the log as a dataset for pandas, Polars and DuckDB."""

import glob
import itertools
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.fakes_rows import Scene, make_batch, small_schema
from tools.label_queue import main
from tsal_dist.exchange.doctor import answer
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.pseudo import export
from tsal_dist.pseudo.topic import open_topic, segment_name

ROOT = Path(__file__).parents[2]
NAME = "teacher-r0000-000001"


@pytest.fixture
def place(tmp_path):
    """Three segments of two producers, one of them sealed; the first is trained on."""
    scene = Scene(PosixStore(tmp_path / "labels", create=True))
    producer = scene.producer()
    for start in (0, 8):
        producer.publish(make_batch(range(start, start + 8)), start)
    other = scene.producer(1)
    other.publish(make_batch(range(100, 104)), 5)
    other.close()
    planner = scene.planner()
    planner.tick()
    planner.plan(0, 8, 1)
    planner.trained(0)
    planner.publish_cursor()
    planner.commit([planner.state_dict()])
    return tmp_path / "labels"


def ask(capsys, *words):
    code = main([str(word) for word in words])
    return code, capsys.readouterr().out


def test_info(place, capsys):
    code, text = ask(capsys, "info", place)
    assert code == 0
    assert "group student: trained to step 0, 8 rows behind" in text
    page = json.loads(ask(capsys, "info", place, "--json")[1])
    assert [(each["rows"], each["segments"], each["sealed"]) for each in page["producers"]] == [
        (16, 2, False),
        (4, 1, True),
    ]
    assert page["groups"]["student"]["backlog_rows"][NAME] == 8


def test_tail(place, capsys):
    code, text = ask(capsys, "tail", place, "-n", 2)
    assert code == 0
    assert "4 rows of step 5" in text.splitlines()[0]
    assert "seal" in text.splitlines()[1]
    records = [json.loads(line) for line in ask(capsys, "tail", place, "--json")[1].splitlines()]
    assert [record["rows"] for record in records] == [8, 8, 4, 0]


def test_lint_finds_what_is_wrong(place, capsys):
    assert ask(capsys, "lint", place)[0] == 0
    (place / segment_name(NAME, 1)).write_bytes(b"PAR1")
    (place / segment_name(NAME, 7)).write_bytes(b"an orphan")
    log = place / "p" / NAME / "LOG"
    raw = bytearray(log.read_bytes())
    raw[10] ^= 1
    log.write_bytes(raw)
    code, text = ask(capsys, "lint", place, "--json")
    found = {(finding["place"], finding["harm"]) for finding in json.loads(text)}
    assert code == 1
    assert found == {
        (f"{NAME} record 0", True),
        (f"{NAME} record 1", True),
        (f"{NAME} segment 1", True),
        (f"{NAME} segment 0", False),
        (f"{NAME} segment 7", False),
    }
    assert "LOST" in ask(capsys, "lint", place)[1]


def test_gc(place, capsys):
    first = place / segment_name(NAME, 0)
    assert json.loads(ask(capsys, "gc", place, "--dry-run", "--json")[1])["segments"] == 1
    assert first.exists()
    assert "1 segments, 0 orphans, 0 temporary deleted" in ask(capsys, "gc", place)[1]
    assert not first.exists()
    assert ask(capsys, "lint", place)[0] == 0


def test_export(place, capsys, tmp_path):
    out = tmp_path / "out" / "labels.parquet"
    code, text = ask(capsys, "export", place, out, "--json")
    assert (code, json.loads(text)["rows"]) == (0, 20)
    rows = pq.read_table(out).to_pylist()
    assert [row["sample_id"] for row in rows] == [*range(16), *range(100, 104)]
    assert rows[5]["producer"] == NAME
    assert (rows[9]["segment"], rows[9]["teacher_step"], rows[9]["video"]) == (1, 8, "video-1")
    assert rows[9]["heatmap_xy"] == [9, 9, 10, 8, 11, 7]
    assert rows[9]["heatmap_valid"] == [bool((9 + k) % 3) for k in range(3)]
    (place / segment_name(NAME, 1)).write_bytes(b"PAR1")
    code, text = ask(capsys, "export", place, out, "--json")
    assert (code, json.loads(text)) == (1, {"rows": 12, "skipped_segments": 1, "file": str(out)})


def test_two_exports_to_one_file_at_once_are_in_nobodys_way(place, tmp_path, monkeypatch):
    topic, out = open_topic(PosixStore(place), small_schema(), "run"), tmp_path / "labels.parquet"
    whole = export.living_segments

    def another_begins(topic):
        yield from itertools.islice(whole(topic), 1)
        monkeypatch.setattr(export, "living_segments", whole)
        assert export.export_topic(topic, out) == (20, 0)
        yield from itertools.islice(whole(topic), 1, None)

    monkeypatch.setattr(export, "living_segments", another_begins)
    assert export.export_topic(topic, out) == (20, 0)
    assert pq.read_table(out).num_rows == 20
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [out.name]


def test_doctor(tmp_path, capsys):
    helper = threading.Thread(target=answer, args=(PosixStore(tmp_path), 2.0))
    helper.start()
    code, text = ask(capsys, "doctor", tmp_path, "--rounds", 3, "--latency", "--json")
    page = json.loads(text)
    helper.join()
    assert (code, page["broken"]) == (0, [])
    assert page["commit_to_visible_ms"]["median"] > 0
    assert page["ms"].keys() == page["ms_durable"].keys() >= {"append_record", "put_new_segment"}
    assert "keeps every promise" in ask(capsys, "doctor", tmp_path, "--rounds", 2)[1]
    assert list((tmp_path / "doctor").glob("*")) == [] if (tmp_path / "doctor").exists() else True


def test_a_place_without_a_queue_is_one_line_and_exit_code_2(tmp_path):
    command = [sys.executable, str(ROOT / "tools/label_queue.py"), "info"]
    for place, words in ((tmp_path, "holds no queue"), (tmp_path / "nowhere", "is not a directory")):
        done = subprocess.run([*command, str(place)], capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 2
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("tool", ["tools.label_queue", "tools.bench.queue", "tools.simulate_queue"])
def test_help_is_light(tool):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['{tool}', '--help']\n"
        "try:\n"
        f"    runpy.run_module('{tool}', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "heavy = {'torch', 'pyarrow', 'cv2', 'numpy', 'fsspec'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)


def pattern(place):
    return f"{place}/p/*/d/*/*.parquet"


def test_a_log_opens_with_pandas(place):
    pandas = pytest.importorskip("pandas")
    table = pandas.concat(map(pandas.read_parquet, glob.glob(pattern(place))))
    assert len(table) == 20
    assert set(table.video) == {"video-0", "video-1", "video-12"}


def test_a_log_opens_with_polars(place):
    polars = pytest.importorskip("polars")
    table = polars.read_parquet(pattern(place))
    assert table.shape[0] == 20
    assert table["teacher_step"].max() == 8


def test_a_log_opens_with_duckdb(place):
    duckdb = pytest.importorskip("duckdb")
    assert duckdb.sql(f"select count(*) from '{pattern(place)}'").fetchall() == [(20,)]


def test_follow_shows_what_comes(place):
    command = [sys.executable, str(ROOT / "tools/label_queue.py"), "tail", str(place), "-n", "1", "--follow"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert "seal" in process.stdout.readline()
        time.sleep(0.1)
        scene = Scene(PosixStore(place))
        scene.producer(2).publish(make_batch(range(8)), 77)
        assert "step 77" in process.stdout.readline()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
