"""What a trial takes of a cluster where the sweep file leaves it open."""

import pytest

from launch.sweep.cluster import count_trials
from launch.sweep.place import describe_place, fit_plan, threads_of
from launch.sweep.trial_plan import plan_sweep
from tests.launch.conftest import ROOT
from tsal_dist.errors import ConfigError

EIGHT_AND_FOUR = {"CPU": 8.0, "GPU": 4.0}
BIG = {"CPU": 64.0, "GPU": 8.0}


@pytest.fixture
def plan(tmp_path):
    def make(place="", *words):
        file = tmp_path / "tiny.toml"
        file.write_text(f"[place]\n{place}\n[space]\ntrain.seed = {{ choice = [0, 1] }}\n")
        return plan_sweep([str(ROOT / "configs/demo.toml")], ["data.workers=2", *words], file, {}, tmp_path)

    return make


@pytest.mark.parametrize(
    ("place", "words", "nodes", "bundle", "trials"),
    [
        # A student and a teacher with ten readers: 12 cores would never fit, a share of the node does.
        ("", [], [EIGHT_AND_FOUR], {"CPU": 4.0, "GPU": 2.0}, 2),
        ("", [], [EIGHT_AND_FOUR] * 4, {"CPU": 4.0, "GPU": 2.0}, 8),
        ("", [], [BIG], {"CPU": 12.0, "GPU": 2.0}, 4),
        ("", [], [{"CPU": 32.0}], {"CPU": 12.0}, 2),
        ("", [], [{"CPU": 2.0}], {"CPU": 2.0}, 1),
        # One GPU and two processes share it.
        ("", [], [{"CPU": 16.0, "GPU": 1.0}], {"CPU": 12.0, "GPU": 1.0}, 1),
        # A head without resources, and nodes without GPUs, decide nothing.
        ("", [], [{"memory": 1.0}, {"CPU": 64.0}, EIGHT_AND_FOUR], {"CPU": 4.0, "GPU": 2.0}, 2),
        ("gpus_per_proc = 0", [], [BIG], {"CPU": 12.0}, 5),
        ("gpus_per_proc = 0.5", [], [EIGHT_AND_FOUR], {"CPU": 2.0, "GPU": 1.0}, 4),
        ("cpus_per_proc = 1", [], [EIGHT_AND_FOUR], {"CPU": 2.0, "GPU": 2.0}, 2),
        ("procs_per_node = 4", [], [EIGHT_AND_FOUR], {"CPU": 8.0, "GPU": 4.0}, 1),
    ],
)
def test_gpus_where_there_are_any_and_the_cores_that_go_with_them(plan, place, words, nodes, bundle, trials):
    fitted = fit_plan(plan(place, *words), nodes)
    assert fitted.bundles == [bundle]
    assert count_trials(fitted.bundles, nodes, "PACK") == trials


def test_gpus_of_the_sweep_s_own_job_are_not_left_to_nobody(plan):
    with pytest.raises(ConfigError, match="4 GPUs each, which nobody could use"):
        fit_plan(plan("gpus_per_proc = 0"), [EIGHT_AND_FOUR], allocated=True)
    assert fit_plan(plan("gpus_per_proc = 0"), [{"CPU": 8.0}], allocated=True).bundles == [{"CPU": 8.0}]


def test_both_roles_of_a_detached_trial_share_a_bundle(plan):
    fitted = fit_plan(plan("", "runtime.topology=detached"), [{"CPU": 64.0}])
    assert fitted.bundles == [{"CPU": 12.0}]


def test_threads_are_the_cores_that_readers_leave(plan):
    assert threads_of(fit_plan(plan("cpus_per_proc = 8"), [])) == 3
    assert threads_of(fit_plan(plan(""), [EIGHT_AND_FOUR])) == 1


def test_a_place_in_words(plan):
    assert describe_place(plan("gpus_per_proc = 1\ncpus_per_proc = 3")) == (
        "1 x (2 training processes, 10 readers of clips; 1 GPU for each; 6 CPUs), PACK"
    )
