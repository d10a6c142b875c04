"""Some steps of a role under torch's profiler: a trace to look at, and a page that says what the device waited for.

`mark_phase` names stretches of the host's time, for this profiler and for Nsight (NVTX).
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

log = logging.getLogger(__name__)

SKIPPED = 10
"""First steps, which allocate, choose algorithms and compile what later ones find."""
ROWS = 25


@contextmanager
def mark_phase(name: str) -> Iterator[None]:
    nvtx = torch.cuda.nvtx.range(name) if torch.cuda.is_available() else nullcontext()
    with nvtx, record_function(name):
        yield


class StepProfiler:
    """Watches `steps` steps after the first few, then writes `<name>.json` and `<name>.md` into the folder; 0 watches none."""

    def __init__(
        self, folder: Path | None = None, name: str = "", steps: int = 0, skip: int = SKIPPED
    ) -> None:
        self._folder, self._name = folder, name
        self._steps, self._skip = steps, skip
        self._seen = 0
        self._begun = 0.0
        self._profile: profile | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around one step."""
        if self._seen < self._skip + self._steps:
            if self._steps and self._seen == self._skip:
                self._begin()
            yield
            self._seen += 1
            if self._profile and self._seen == self._skip + self._steps:
                self._write(self._profile)
        else:
            yield

    def _begin(self) -> None:
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self._profile = profile(activities=activities)
        self._profile.start()
        self._begun = time.perf_counter()

    def _write(self, seen: profile) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        took_s = time.perf_counter() - self._begun
        seen.stop()
        self._profile = None
        assert self._folder is not None, "given with a number of steps"
        self._folder.mkdir(parents=True, exist_ok=True)
        seen.export_chrome_trace(str(self._folder / f"{self._name}.json"))
        page = "\n".join(describe(seen.key_averages(), self._steps, took_s))
        (self._folder / f"{self._name}.md").write_text(page + "\n")
        log.info("%d steps were profiled: %s", self._steps, self._folder / f"{self._name}.md")


def describe(events: Sequence[Any], steps: int, took_s: float) -> Iterator[str]:
    """A page of Markdown: what the device did and was asked, and what took longest."""
    on_gpu = torch.cuda.is_available()
    yield f"{steps} steps in {1e3 * took_s:.1f} ms."
    yield ""
    yield "| | per step |"
    yield "|---|---:|"
    if on_gpu:
        busy_s = busy_us(events) / 1e6
        yield f"| device busy | {busy_s / took_s:.0%} |"
        yield f"| copies to the host | {_count(events, 'Memcpy DtoH') / steps:.1f} |"
        yield f"| waits for the device | {_count(events, 'Synchronize') / steps:.1f} |"
    else:
        yield "| device | a CPU: not measured on a GPU |"
    yield f"| numbers asked for | {_count(events, 'aten::_local_scalar_dense') / steps:.1f} |"
    yield ""
    yield "| operation | calls per step | host ms per step |" + (" device ms per step |" if on_gpu else "")
    yield "|---|---:|---:|" + ("---:|" if on_gpu else "")
    for event in sorted(events, key=lambda one: -max(_device_us(one), one.self_cpu_time_total))[:ROWS]:
        host_ms = event.self_cpu_time_total / 1e3 / steps
        device = f" {_device_us(event) / 1e3 / steps:.3f} |" if on_gpu else ""
        yield f"| {event.key.replace('|', '/')} | {event.count / steps:.1f} | {host_ms:.3f} |{device}"


def busy_us(events: Sequence[Any]) -> float:
    """Microseconds that the device worked. Only what ran there counts: the operation that launched a kernel has the kernel's
    time to its name as well, and so have the phases that were marked around it."""
    return float(
        sum(
            event.self_device_time_total
            for event in events
            if event.device_type.name != "CPU" and not event.is_user_annotation
        )
    )


def _count(events: Sequence[Any], word: str) -> int:
    return sum(event.count for event in events if word in event.key)


def _device_us(event: Any) -> float:
    return float(getattr(event, "self_device_time_total", 0.0))
