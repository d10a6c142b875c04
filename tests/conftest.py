"""What every test may ask for."""

import ctypes
import functools
import os
import sys
from collections import Counter

import hypothesis
import pytest

# Two test workers on two cores: more threads than cores only take turns.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What DeepSpeed has torch compile is this venv's: another checkout's torch would compile it anew under the feet of these
# tests, and a compilation that was killed there would be waited for here.
os.environ.setdefault("TORCH_EXTENSIONS_DIR", os.path.join(sys.prefix, "torch_extensions"))


# A loaded machine is no defect: how long an example takes is not what these tests are about.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


MOST_CPU_S, PATIENCE, MORE_PATIENCE = 2.0, 3.0, 6.0
"""What a test without the mark `slow` may compute, on a machine that is so much slower than the one it was measured on, and in the
whole run, which counts covered lines, too. Of the processor and not of the clock: a loaded machine is no defect."""
SLOW = ("slow", "ranks")
"""Both start processes of their own, each of which imports torch first."""
WHOLE_RUNS = {"run_of", "jobs", "short_run", "start_local"}
"""Fixtures that train: whoever asks for one is slow."""


def pytest_addoption(parser):
    parser.addoption(
        "--fast", action="store_true", help="leave out slow tests; a slow one without its mark fails"
    )


def pytest_collection_modifyitems(config, items):
    for item in items:
        if race := item.get_closest_marker("os_race"):
            if not race.args:
                raise pytest.UsageError(
                    f"{item.nodeid}: os_race says which race of the operating system it can lose."
                )
            item.add_marker(pytest.mark.flaky(reruns=1))
            item.user_properties.append(("os_race", race.args[0]))
        if _is_slow(item):
            # Tracing takes half as long again, and its processes are not traced anyway. What slow tests alone reach, four
            # lines in a hundred, is not counted.
            item.add_marker(pytest.mark.no_cover)
    # Files that hold slow tests first: one that begins when all others are done is waited for by a core that has nothing to do.
    slow_files = {item.path for item in items if _is_slow(item)}
    items.sort(key=lambda item: item.path not in slow_files)
    if config.getoption("--fast"):
        slow = [item for item in items if _is_slow(item)]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]


def _is_slow(item):
    return any(map(item.get_closest_marker, SLOW)) or bool(
        WHOLE_RUNS & set(getattr(item, "fixturenames", ()))
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Fail what takes long and does not say so, in the whole run as well: it would make the fast run slow."""
    before = os.times()
    result = yield
    after = os.times()
    took_s = sum(after[:4]) - sum(before[:4])  # children included, once they have ended
    patience = PATIENCE if item.config.getoption("--fast") else MORE_PATIENCE
    if not _is_slow(item) and took_s > MOST_CPU_S * patience:
        pytest.fail(
            f"It computes for {took_s:.1f} s, and a test without the mark `slow` has {MOST_CPU_S:g} s. Make it smaller, or mark it.",
            pytrace=False,
        )
    item.user_properties.append(("cpu_s", round(took_s, 2)))
    return result


def pytest_terminal_summary(terminalreporter):
    """Each retry, with the race that its test says it can lose."""
    times = Counter(report.nodeid for report in terminalreporter.stats.get("rerun", []))
    reasons = {
        report.nodeid: dict(report.user_properties)["os_race"]
        for report in terminalreporter.stats.get("rerun", [])
    }
    for test, number in times.items():
        terminalreporter.line(f"{number} tried again: {test}, for: {reasons[test]}")


@pytest.fixture(autouse=True)
def nobody_adopts():
    """A test that makes pytest the parent of orphans leaves zombies, on which a Slurm waits for ever."""
    yield
    if sys.platform == "linux":
        flag = ctypes.c_int()
        ctypes.CDLL(None).prctl(37, ctypes.byref(flag))  # PR_GET_CHILD_SUBREAPER
        if flag.value:
            ctypes.CDLL(None).prctl(36, 0)
            pytest.fail("this test called adopt_orphans within pytest; start a process for it")


@pytest.fixture
def rng():
    """A numpy generator that is the same in every run."""
    import numpy as np

    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    """One small data set of synthetic faces, packed."""
    from tests.roles.short_runs import pack_faces

    return pack_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="session")
def run_of(faces, tmp_path_factory):
    """The run of a recipe on one process, made when it is first asked for."""
    from tests.roles.short_runs import train

    return functools.cache(
        lambda recipe: train(faces, tmp_path_factory.mktemp(recipe) / "run", f"method.name={recipe}")
    )


@pytest.fixture(scope="session")
def flag_trust(tmp_path_factory):
    """What is measured of a detector of flags."""
    from tests.inference.squares import FLAG_PX, FlagDetector, finder_of, pack_flags
    from tsal_dist.inference.trust import measure_trust

    shards = pack_flags(tmp_path_factory.mktemp("flags"), FLAG_PX, 3)
    return measure_trust(finder_of(FlagDetector()), shards, 64)


@pytest.fixture(scope="session")
def flag_file(flag_trust, tmp_path_factory):
    """That detector as one file."""
    pytest.importorskip("onnxruntime")
    from tests.inference.squares import FLAG_CONFIG, FlagDetector
    from tsal_dist.inference.export_whole import export_whole
    from tsal_dist.inference.trained import Trained

    path = tmp_path_factory.mktemp("file") / "flag.onnx"
    export_whole(Trained(FlagDetector(), FLAG_CONFIG, "flag student step 8"), path, flag_trust)
    return path
