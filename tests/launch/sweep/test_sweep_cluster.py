"""Room on a cluster, and the texts that make one."""

import subprocess
import sys

import kubernetes_validate
import pytest
import yaml

from launch.sweep.cluster import count_trials
from launch.sweep.trial_plan import plan_sweep
from tests.launch.conftest import ROOT

if sys.version_info >= (3, 11):
    import tomllib

FOUR, TWO = {"CPU": 4.0, "GPU": 2.0, "memory": 1.0}, {"CPU": 2.0}


@pytest.mark.parametrize(
    ("bundles", "nodes", "strategy", "trials"),
    [
        ([{"CPU": 2}], [FOUR, TWO], "PACK", 3),
        ([{"CPU": 2}] * 2, [FOUR, TWO], "PACK", 1),
        ([{"CPU": 2}] * 2, [FOUR, TWO], "STRICT_PACK", 1),
        ([{"CPU": 2}] * 2, [TWO, TWO], "STRICT_PACK", 0),
        ([{"CPU": 2}] * 2, [FOUR], "STRICT_SPREAD", 0),
        ([{"CPU": 1}] * 2, [FOUR, TWO, TWO], "STRICT_SPREAD", 4),
        ([{"CPU": 1, "GPU": 1}], [FOUR, TWO], "SPREAD", 2),
        ([{"CPU": 0.5}], [TWO], "PACK", 4),
        ([{"CPU": 3}], [TWO, TWO], "PACK", 0),
        ([{"CPU": 1}], [], "PACK", 0),
    ],
)
def test_room_is_counted_by_node(bundles, nodes, strategy, trials):
    assert count_trials(bundles, nodes, strategy) == trials


def test_the_rayjob_is_made_of_valid_pods_and_starts_a_sweep_that_exists():
    job = yaml.safe_load((ROOT / "launch/k8s/rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    pods = [
        cluster["headGroupSpec"]["template"],
        *(group["template"] for group in cluster["workerGroupSpecs"]),
    ]
    for template in [*pods, job["spec"]["submitterPodTemplate"]]:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": template["spec"]}
        kubernetes_validate.validate(pod, "1.31", strict=True)
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"ray=={cluster['rayVersion']}" in pins
    words = job["spec"]["entrypoint"].split()
    config, sweep = words[words.index("--config") + 1], words[words.index("--sweep") + 1]
    (claim,) = {
        volume["persistentVolumeClaim"]["claimName"] for pod in pods for volume in pod["spec"]["volumes"][:1]
    }
    assert claim == yaml.safe_load((ROOT / "launch/k8s/volume.yaml").read_text())["metadata"]["name"]
    # Where data are mounted, no sweep may write anywhere else.
    plan = plan_sweep([str(ROOT / config)], [], ROOT / sweep, {}, ROOT)
    assert plan.folder.relative_to(ROOT).parts[0] == "runs"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="reads pyproject.toml by tomllib")
def test_the_rayjob_s_image_has_a_dashboard_and_all_that_sweeps_need():
    """The operator submits the sweep to Ray's dashboard and probes its agents; plain `ray[tune]` has neither."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["kuberay"] == [line.replace("ray[tune]", "ray[default,tune]") for line in extras["tune"]]
    assert "extra `kuberay`" in (ROOT / "launch/k8s/rayjob.yaml").read_text()
    assert "--build-arg EXTRAS=report,kuberay" in (ROOT / "docs/sweeps.md").read_text()


def test_the_slurm_job_is_a_shell_script():
    subprocess.run(["bash", "-n", ROOT / "launch/slurm/sweep.sbatch"], check=True)
