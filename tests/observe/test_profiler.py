"""Some steps under the profiler: which of them, and what comes of it."""

import json
from contextlib import contextmanager

import pytest
import torch
from torch.autograd import DeviceType

from tests.roles.short_runs import pack_faces, train
from tsal_dist.observe.meters import Pace
from tsal_dist.observe.profiler import StepProfiler, describe, mark_phase


def test_only_the_steps_after_the_first_are_watched(tmp_path):
    watcher = StepProfiler(tmp_path / "profile", "student-0", steps=2, skip=3)
    for step in range(8):
        with watcher.step(), mark_phase(f"step {step}"):
            torch.ones(4).sum().item()
        assert (tmp_path / "profile").exists() == (step >= 4)
    names = {
        event.get("name")
        for event in json.loads((tmp_path / "profile/student-0.json").read_text())["traceEvents"]
    }
    assert {f"step {step}" for step in (3, 4)} <= names
    assert not {f"step {step}" for step in (2, 5)} & names
    page = (tmp_path / "profile/student-0.md").read_text()
    assert page.startswith("2 steps in")
    assert "| numbers asked for | 1.0 |" in page
    assert "not measured on a GPU" in page


def test_nothing_is_written_where_nobody_asked(tmp_path):
    watcher = StepProfiler(tmp_path / "profile", "student-0", steps=0, skip=1)
    for _ in range(3):
        with watcher.step():
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_told_by_its_busy_share_and_by_what_it_was_asked(monkeypatch):
    """The words for a GPU, of events as torch reports them."""
    from types import SimpleNamespace

    def event(key, count, host_us, device_us, where=DeviceType.CUDA, marked=False):
        return SimpleNamespace(
            key=key,
            count=count,
            self_cpu_time_total=host_us,
            self_device_time_total=device_us,
            device_type=where,
            is_user_annotation=marked,
        )

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    events = [event("conv", 20, 100.0, 9000.0), event("Memcpy DtoH (Device -> Pinned)", 4, 0.0, 500.0)]
    events.append(event("cudaStreamSynchronize", 2, 50.0, 0.0, DeviceType.CPU))
    # The same work to the name of what asked for it, and of the phase that it was asked in: it was done once.
    events.append(event("aten::convolution", 20, 200.0, 9000.0, DeviceType.CPU))
    events.append(event("learn", 2, 0.0, 9500.0, marked=True))
    page = list(describe(events, steps=2, took_s=0.01))
    assert "| device busy | 95% |" in page
    assert "| copies to the host | 2.0 |" in page
    assert "| waits for the device | 1.0 |" in page


def test_phases_are_marked_for_the_profiler():
    seen = []

    @contextmanager
    def mark(name):
        seen.append(name)
        yield

    pace = Pace(mark=mark)
    with pace.phase("data"):
        pass
    assert seen == ["data"]


@pytest.mark.ranks
def test_a_run_that_is_watched_leaves_its_page(tmp_path):
    faces = pack_faces(tmp_path)
    run = train(faces, tmp_path / "run", "method.name=supervised", "train.steps=13", flags=("--profile", "2"))
    assert (run / "profile/student-0.md").read_text().startswith("2 steps in")
