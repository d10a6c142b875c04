"""The jobs that the tests of `launch.submit` ask for, and their texts."""

from launch.submit import main
from tests.launch.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"
CONFIG = ["--config", "tests/golden/tiny.toml"]
SLURM = ["slurm", *CONFIG, "--python", "python", "--time", "12:00:00", "--account", "faces"]
K8S = ["k8s", *CONFIG, "--image", "registry.example/tsal_dist:1"]
DETACHED = ["runtime.topology=detached", "runtime.teachers=node"]
APART = ["--teacher-partition", "cheap", "--mem", "200G", "--teacher-option=--mem=40G"]
CLUSTER = ["--queue", "team-a", "--priority", "high", "--pull-secret", "registry", "--rdma", "rdma/hca=1"]
CLUSTER += ["--toleration", "nvidia.com/gpu", "--toleration", "pool=faces:NoSchedule"]
CLUSTER += ["--node-label", "gpu=h100", "--teacher-node-label", "gpu=t4"]
TEXTS = {
    "slurm-split.sbatch": [*SLURM, "--nodes", "2", "--gpus-per-node", "4", "--setup", "module load cuda"],
    "slurm-detached.sbatch": [*SLURM, "--nodes", "2", "--gpus-per-node", "4", *APART, *DETACHED],
    "slurm-container.sbatch": [
        *SLURM,
        "--gpus-per-node",
        "2",
        "--container",
        "tsal.sif",
        "--stage",
        "/scratch",
    ],
    "slurm-crew.sbatch": [*SLURM, "--crew", "night", "--gpus-per-node", "2", "--partition", "spot"],
    "k8s-crew.yaml": [*K8S, "--crew", "night", "--nodes", "2", "--gpus-per-node", "1"],
    "k8s-split.yaml": [*K8S, "--nodes", "2", "--procs-per-node", "2"],
    "k8s-detached.yaml": [*K8S, "--nodes", "2", "--gpus-per-node", "4", *DETACHED],
    "k8s-jobset.yaml": [*K8S, "--jobset", "--nodes", "2", "--gpus-per-node", "4", *CLUSTER, *DETACHED],
}


PACK = ["pack", "--videos", "shards/raw", "--box", "full", "--out", "shards/faces"]
PREDICT = ["predict", "--run", "runs/mine", "--video", "shards/raw", "--table", "runs/mine/all.parquet"]
SHARED = {
    "slurm-pack.sbatch": [
        *("slurm", "--machines", "20", "--at-a-time", "5", "--cpus", "16", "--python", "python"),
        *("--option=--time=4:00:00", "--setup", "module load python", "--dry-run", *PACK),
    ],
    "slurm-predict.sbatch": [
        *(
            "slurm",
            "--machines",
            "8",
            "--cpus",
            "4",
            "--gpus",
            "1",
            "--python",
            "python",
            "--dry-run",
            *PREDICT,
        )
    ],
    "k8s-pack.yaml": [
        *("k8s", "--machines", "20", "--at-a-time", "5", "--cpus", "16", "--name", "faces"),
        *("--image", "registry.example/tsal_dist:1", "--dry-run", *PACK),
    ],
    "k8s-predict.yaml": [
        *("k8s", "--machines", "8", "--cpus", "4", "--gpus", "1", "--memory", "24Gi"),
        *("--image", "registry.example/tsal_dist:1", "--dry-run", *PREDICT),
    ],
}
"""Of `launch.share`."""


def render(words, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main([*words, "--dry-run"]) == 0
    # The one thing that differs from checkout to checkout.
    return capsys.readouterr().out.replace(str(ROOT), "/repository")


def jobs_of(one):
    """What the API's own schemas know: a set is its controller's, the Jobs in it are not."""
    if one["kind"] != "JobSet":
        return [one]
    templates = [job["template"] for job in one["spec"]["replicatedJobs"]]
    return [{"apiVersion": "batch/v1", "kind": "Job", **template} for template in templates]
