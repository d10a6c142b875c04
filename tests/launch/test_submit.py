"""Job texts: exact, valid for their clusters, and refused where the resources do not fit."""

import os
import shlex
import shutil
import stat
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml

from launch.slurm.render import parse_time
from launch.submit import main
from tests.launch.conftest import ROOT
from tsal_dist.errors import ConfigError, TopologyError

GOLDEN = ROOT / "tests" / "golden"
CONFIG = ["--config", "tests/golden/tiny.toml"]
SLURM = ["slurm", *CONFIG, "--python", "python", "--time", "12:00:00", "--account", "faces"]
K8S = ["k8s", *CONFIG, "--image", "registry.example/tsal_dist:1"]
DETACHED = ["runtime.topology=detached", "runtime.teachers=node"]
APART = ["--teacher-partition", "cheap", "--mem", "200G", "--teacher-option=--mem=40G"]
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
    "k8s-split.yaml": [*K8S, "--nodes", "2", "--procs-per-node", "2"],
    "k8s-detached.yaml": [*K8S, "--nodes", "2", "--gpus-per-node", "4", *DETACHED],
}


def render(words, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main([*words, "--dry-run"]) == 0
    # The one thing that differs from checkout to checkout.
    return capsys.readouterr().out.replace(str(ROOT), "/repository")


@pytest.mark.parametrize("name", TEXTS)
def test_dry_run_prints_the_job_as_agreed(name, capsys, monkeypatch):
    again = f"python -m launch.submit {shlex.join(TEXTS[name])} --dry-run > tests/golden/{name}"
    assert render(TEXTS[name], capsys, monkeypatch) == (GOLDEN / name).read_text(), (
        f"if that is right: {again}"
    )


@pytest.mark.parametrize("name", [name for name in TEXTS if name.startswith("slurm")])
def test_slurm_texts_are_valid_bash(name):
    for text in (GOLDEN / name, ROOT / "launch" / "slurm" / "keep.sh"):
        subprocess.run(["bash", "-n", str(text)], check=True)


@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
@pytest.mark.parametrize(
    "path", [GOLDEN / "k8s-split.yaml", GOLDEN / "k8s-detached.yaml", ROOT / "launch/k8s/volume.yaml"]
)
def test_kubernetes_objects_fit_the_schemas(path, version):
    objects = list(yaml.safe_load_all(path.read_text()))
    for one in objects:
        kubernetes_validate.validate(one, version, strict=True)


def test_kubernetes_objects_refer_to_each_other():
    config, service, *jobs = yaml.safe_load_all((GOLDEN / "k8s-detached.yaml").read_text())
    assert [job["metadata"]["name"] for job in jobs] == ["tiny-student", "tiny-teacher"]
    for job, procs in zip(jobs, (3, 1), strict=True):
        template = job["spec"]["template"]
        container = template["spec"]["containers"][0]
        assert template["spec"]["subdomain"] == service["metadata"]["name"]
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        assert f"--address={job['metadata']['name']}-0.{service['metadata']['name']}" in container["command"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == procs
        [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "config"]
        assert f"{mount['mountPath']}/{next(iter(config['data']))}" in container["command"]
    assert config["data"]["0-tiny.toml"] == (GOLDEN / "tiny.toml").read_text()


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        ([*SLURM], TopologyError, "Give one of them"),
        ([*SLURM, "--gpus-per-node", "1"], TopologyError, "leaves no student"),
        ([*SLURM, "--gpus-per-node", "2", "--procs-per-node", "4"], TopologyError, "Ask for 4 GPUs"),
        ([*SLURM, "--gpus-per-node", "4", "--procs-per-node", "3"], TopologyError, "1 GPUs .* not used"),
        (
            [*SLURM, "--gpus-per-node", "2", "--option=--array=0-3"],
            ConfigError,
            "--array=0-3 would start the same",
        ),
        ([*SLURM, "--gpus-per-node", "2", "--option=-a 0-3"], ConfigError, "several times in one run"),
        ([*SLURM, "--gpus-per-node", "2", "--option=--arr=0-3"], ConfigError, "several times in one run"),
        ([*SLURM, "--gpus-per-node", "2", "--teacher-partition", "x"], ConfigError, "has a job of its own"),
        (
            [*SLURM, "--gpus-per-node", "2", "--stage", "/tmp", "data.labelled=/far/faces"],
            ConfigError,
            "'/far/faces' is not below the repository",
        ),
        (
            [*SLURM, "--gpus-per-node", "2", "--snapshot", "--config", "../x.toml"],
            ConfigError,
            "no config file",
        ),
        ([*SLURM, "--gpus-per-node", "2", "--nodes", "0"], TopologyError, "0 machines"),
        (
            [*SLURM, "--gpus-per-node", "2", "--nodes", "2", "runtime.topology=detached"],
            TopologyError,
            "1, 1|2, 1",
        ),
        ([*SLURM, "--gpus-per-node", "2", "runtime.topology=inline"], TopologyError, "Ask for one"),
        ([*SLURM, "--gpus-per-node", "2", "--time", "15:00"], ConfigError, "--time 15:00 is 900 s"),
        ([*SLURM, "--gpus-per-node", "2", "--time", "soon"], ConfigError, "'soon' is not a time"),
        ([*SLURM, "--gpus-per-node", "2", "runtime.deadlines.grace_s=70000"], ConfigError, "at most 65535"),
        ([*K8S, "--gpus-per-node", "2", "run.dir=/data/run"], ConfigError, "below runs/"),
        ([*K8S, "--gpus-per-node", "2", "run.name='7'"], ConfigError, "begins with"),
        ([*K8S, "--gpus-per-node", "2", f"run.name={'x' * 41}"], ConfigError, "at most 40"),
    ],
)
def test_what_does_not_fit_is_refused_before_submission(words, error, says, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(error, match=says):
        main([*words, "--dry-run"])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("1:30:05", 5405),
        ("2-1", 176400),
        ("2-1:30", 178200),
        ("1-0:0:1", 86401),
    ],
)
def test_slurm_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Stands in for both clusters' commands: keeps what it is given, says what they would say."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, source, says in (("sbatch", '"$2"', "42"), ("kubectl", "-", "job.batch/tiny-world created")):
        path = tools / name
        path.write_text(f'#!/bin/sh\ntest -e "{tmp_path}/refuse" && echo no room >&2 && exit 1\n')
        path.write_text(path.read_text() + f'cat {source} > "{tmp_path}/got"\necho "{says}"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tools}:{os.path.dirname(shutil.which('sh') or '')}")
    monkeypatch.chdir(ROOT)
    return tmp_path


def test_submitting_to_slurm_opens_the_run_once(cluster, capsys):
    words = [*SLURM, "--gpus-per-node", "2", f"run.dir={cluster}/run"]
    assert main(words) == 0
    assert capsys.readouterr().out == f"job 42; its log will be {cluster}/run/logs/slurm-42.log\n"
    assert (cluster / "got").read_text() == (cluster / "run" / "logs" / "job.sbatch").read_text()
    with pytest.raises(ConfigError, match="already holds a run"):
        main(words)
    with pytest.raises(ConfigError, match=r"was started with train\.steps"):
        main([*words, "--resume", "train.steps=7000"])
    assert main([*words, "--resume"]) == 0


def test_submitting_to_kubernetes_hands_over_the_text(cluster, capsys):
    words = [*K8S, "--procs-per-node", "2"]
    assert main([*words, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert main(words) == 0
    assert "created" in capsys.readouterr().out
    assert (cluster / "got").read_text() == text
    (cluster / "refuse").touch()
    with pytest.raises(ConfigError, match="no room"):
        main(words)


def test_without_a_cluster_there_is_no_submitting(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match="no sbatch here"):
        main([*SLURM, "--gpus-per-node", "2", f"run.dir={tmp_path}/run"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words", [["local"], ["submit"], ["submit", "slurm"], ["crew"], ["health_probe"], ["exit_status"]]
)
def test_help_comes_without_torch(words):
    name, *rest = words
    code = f"import sys; from launch.{name} import main\ntry: main({[*rest, '--help']!r})\nexcept SystemExit: pass\n"
    code += (
        "sys.exit(f'imported {found}' if (found := {'torch', 'cv2', 'pyarrow'} & set(sys.modules)) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: python -m launch." in done.stdout
