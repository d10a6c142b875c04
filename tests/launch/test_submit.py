"""Job texts: exactly as agreed, and refused where the resources do not fit; handed over to the cluster."""

import os
import shlex
import shutil
import stat
import subprocess
import sys

import pytest

from launch.slurm.render import parse_time
from launch.submit import main
from tests.launch.conftest import ROOT
from tests.launch.job_texts import GOLDEN, K8S, SLURM, TEXTS, render
from tsal_dist.errors import ConfigError, TopologyError


@pytest.mark.parametrize("name", TEXTS)
def test_dry_run_prints_the_job_as_agreed(name, capsys, monkeypatch):
    again = f"python -m launch.submit {shlex.join(TEXTS[name])} --dry-run > tests/golden/{name}"
    assert render(TEXTS[name], capsys, monkeypatch) == (GOLDEN / name).read_text(), (
        f"if that is right: {again}"
    )


@pytest.mark.parametrize("name", [name for name in TEXTS if name.startswith("slurm")])
def test_slurm_texts_are_valid_bash(name):
    slurm = ROOT / "launch" / "slurm"
    for text in (GOLDEN / name, slurm / "keep.sh"):
        subprocess.run(["bash", "-n", str(text)], check=True)


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
        (
            [*K8S, "--gpus-per-node", "2", "runtime.deadlines.meet_s=600"],
            ConfigError,
            "meet_s is 600, .* 615 s",
        ),
        ([*K8S, "--gpus-per-node", "2", "run.name=_"], ConfigError, "has 1 to 40"),
        ([*K8S, "--gpus-per-node", "2", f"run.name={'x' * 41}"], ConfigError, "has 1 to 40"),
        ([*K8S, "--gpus-per-node", "2", "--node-label", "gpu"], ConfigError, "must be KEY=VALUE"),
        ([*K8S, "--gpus-per-node", "2", "--rdma", "rdma/hca"], ConfigError, "must be RESOURCE=COUNT"),
        ([*K8S, "--gpus-per-node", "2", "--toleration", "a=b:Never"], ConfigError, "KEY=VALUE:EFFECT"),
        ([*K8S, "--gpus-per-node", "2", "--teacher-node-label", "a=b"], ConfigError, "has a job of its own"),
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
    (tmp_path / "there").touch()
    for name, source, says in (("sbatch", '"$2"', "42"), ("kubectl", "-", "job.batch/tiny-world created")):
        path = tools / name
        path.write_text(f'#!/bin/sh\ntest -e "{tmp_path}/refuse" && echo no room >&2 && exit 1\n')
        path.write_text(path.read_text() + f'test "$1" != get || exec cat "{tmp_path}/there"\n')
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


def test_a_run_whose_job_is_in_the_queue_is_not_submitted_again(cluster):
    """On several machines two jobs of one run end each other in turns."""
    words = [*SLURM, "--gpus-per-node", "2", f"run.dir={cluster}/run"]
    assert main(words) == 0
    squeue = cluster / "bin" / "squeue"
    squeue.touch(0o755)
    for state, refused in (("PENDING", True), ("RUNNING", True), ("COMPLETING", False), ("", False)):
        squeue.write_text(f"#!/bin/sh\necho {state}\n")
        if refused:
            with pytest.raises(ConfigError, match=f"in job 42 already, which is {state}"):
                main([*words, "--resume"])
        else:
            assert main([*words, "--resume"]) == 0
    squeue.write_text("#!/bin/sh\necho Invalid job id specified >&2\nexit 1\n")
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


def test_a_job_that_is_there_already_is_refused_before_anything_is_made(cluster, capsys):
    """The objects that Jobs share may be there, of a run that goes on."""
    words = [*K8S, "--procs-per-node", "2"]
    (cluster / "there").write_text("configmap/tiny-1\nservice/tiny\njob.batch/tiny-world\n")
    with pytest.raises(
        ConfigError, match="job.batch/tiny-world is there already.*kubectl delete job.batch/tiny-world$"
    ):
        main(words)
    assert not (cluster / "got").exists()
    (cluster / "there").write_text("configmap/tiny-1\nservice/tiny\n")
    assert main(words) == 0
    assert (cluster / "got").exists()


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
