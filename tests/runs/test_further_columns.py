"""Patches and features of the queue, wherever labels go: the dry run's price, the log's export, the books, another student."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.checkpoint.equality import equal
from tests.roles.short_runs import POINTS, metrics, student_of, train, words
from tests.runs.other_runs import rerun
from tools.label_queue import main as label_queue
from tsal_dist.insight.audit import audit_run
from tsal_dist.models.detectors import build_detector
from tsal_dist.models.embedding import embedding_width
from tsal_dist.run_dir import RunDir
from tsal_dist.train import main as train_main

pytestmark = [pytest.mark.ranks, pytest.mark.slow]
PATCH = 5
EMBEDDING = embedding_width(build_detector("lite", POINTS))
BYTES = {
    "dual_mean_teacher": 2 * POINTS * (12 + PATCH**2),  # two sources: a place, a score, a byte for each cell
    "feature_distillation": POINTS * (12 + 2 * EMBEDDING),  # half precision
}
COLUMNS = {"dual_mean_teacher": {"first_patch", "second_patch"}, "feature_distillation": {"look_feature"}}


@pytest.fixture(scope="module", params=BYTES)
def method(request, run_of):
    """Its name, and its settings."""
    if request.param == "feature_distillation":
        teacher = json.dumps(str(run_of("supervised")))
        return request.param, (f"method.name={request.param}", f"method.teacher={teacher}")
    return request.param, (f"method.name={request.param}", f"method.patch={PATCH}")


@pytest.fixture(scope="module")
def original(faces, method, tmp_path_factory) -> Path:
    return train(faces, tmp_path_factory.mktemp("original") / "run", *method[1])


def test_a_dry_run_says_what_a_label_takes(faces, method, tmp_path, capsys):
    name, settings = method
    assert train_main(["--dry-run", *words(faces, tmp_path / "run", *settings)]) == 0
    assert json.loads(capsys.readouterr().out)["bytes_per_label"] == BYTES[name]


def test_the_log_is_exported_with_them(original, method, tmp_path, capsys):
    out = tmp_path / "labels.parquet"
    assert label_queue(["export", str(original / "queue" / "labels"), str(out)]) == 0
    table = pq.read_table(out)
    assert set(table.column_names) >= COLUMNS[method[0]]
    assert table.num_rows == 48
    row = table.slice(0, 1).to_pylist()[0]
    sizes = {"first_patch": POINTS * PATCH**2, "look_feature": POINTS * EMBEDDING}
    for column in COLUMNS[method[0]] & sizes.keys():
        assert len(row[column]) == sizes[column]


def test_the_books_close(original):
    audit = audit_run(RunDir(original))
    assert audit.violations == []
    assert audit.uses == 48


def test_it_is_replayed_to_the_bit(original, tmp_path):
    again = rerun(tmp_path / "again", "--replay-plan", str(original))
    assert equal(student_of(original), student_of(again))
    assert metrics(original) == metrics(again)


def test_another_student_learns_from_the_log_alone(faces, original, method, tmp_path):
    folder = tmp_path / "alone"
    rerun(folder, "--offline", str(original), *words(faces, folder, *method[1]))
    assert metrics(folder)[-1]["step"] == 8
    assert any("weight/point" in line for line in metrics(folder)), "it was given labels"


def test_a_student_on_deepspeed_takes_them(faces, method, tmp_path):
    apart = ("runtime.topology=split", "runtime.queue.on_starvation=wait", "train.unlabelled_batch=4")
    deepspeed = ("runtime.student.kind=deepspeed", "runtime.student.zero_stage=1")
    run = train(faces, tmp_path / "run", *method[1], *apart, *deepspeed, world=2)
    assert any("weight/point" in line for line in metrics(run))
    assert all(bool(value.isfinite().all()) for value in student_of(run).values())
