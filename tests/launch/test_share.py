"""Texts of jobs that share packing and predicting: exactly as agreed, refused where a slip of the pen would reach every machine."""

import json
import os
import shlex
import subprocess

import pytest
import yaml

from launch.share import main
from tests.launch.conftest import ROOT
from tests.launch.job_texts import GOLDEN, PACK, PREDICT, SHARED
from tsal_dist.errors import ConfigError

SLURM = ["slurm", "--machines", "4", "--cpus", "2"]


@pytest.mark.parametrize("name", SHARED)
def test_dry_run_prints_the_jobs_as_agreed(name, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(SHARED[name]) == 0
    again = f"python -m launch.share {shlex.join(SHARED[name])} > tests/golden/{name}"
    said = capsys.readouterr().out.replace(str(ROOT), "/repository")
    assert said == (GOLDEN / name).read_text(), f"if that is right: {again}"


@pytest.mark.parametrize(
    ("task", "words"), [("", []), ("3", ["--machine", "3/20"])], ids=["the end", "a part of the array"]
)
def test_a_job_of_the_array_does_its_part_and_one_by_itself_the_end(task, words, tmp_path):
    said = (GOLDEN / "slurm-pack.sbatch").read_text().replace("module load python", "")
    (tmp_path / "python").write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        **({"SLURM_ARRAY_TASK_ID": task} if task else {}),
    }
    done = subprocess.run(["bash", "-c", said], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == ["-m", "tsal_dist", "pack", "--workers", "16", *PACK[1:], *words]


@pytest.mark.parametrize("name", ["k8s-pack.yaml", "k8s-predict.yaml"])
def test_a_pod_does_its_part_and_the_last_one_the_end(name, tmp_path):
    """Their commands, run as a container would."""
    parts, end = yaml.safe_load_all((GOLDEN / name).read_text())
    assert (parts["spec"]["completionMode"], end["spec"]["suspend"]) == ("Indexed", True)
    assert end["metadata"]["name"] == f"{parts['metadata']['name']}-end"
    machines = parts["spec"]["completions"]
    (tmp_path / "python").write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)

    def run(job, **settings):
        (container,) = job["spec"]["template"]["spec"]["containers"]
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **settings}
        return subprocess.run(
            container["command"], env=environment, capture_output=True, text=True, check=True
        ).stdout.split("\n")[:-1]

    whole = run(end)
    assert whole[:2] == ["-m", "tsal_dist"]
    assert run(parts, JOB_COMPLETION_INDEX="0") == [*whole, "--machine", f"1/{machines}"]
    last = run(parts, JOB_COMPLETION_INDEX=str(machines - 1))
    assert last == [*whole, "--machine", f"{machines}/{machines}"]


def test_a_patch_reaches_both_jobs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    patch = {"kind": "Job", "spec": {"template": {"spec": {"priorityClassName": "low"}}}}
    (tmp_path / "patch.yaml").write_text(json.dumps(patch))
    words = ["k8s", "--machines", "2", "--cpus", "1", "--image", "x", "--patch", str(tmp_path / "patch.yaml")]
    assert main([*words, "--dry-run", *PACK]) == 0
    jobs = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [job["spec"]["template"]["spec"]["priorityClassName"] for job in jobs] == ["low", "low"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([*SLURM, *PACK, "--machine", "1/4"], "--machine stands after pack"),
        ([*SLURM, *PREDICT, "--ray=auto"], "--ray stands after predict"),
        (["slurm", "--machines", "0", "--cpus", "2", *PACK], "--machines is 0"),
        ([*SLURM, "--name", "Faces", *PACK], "--name is 'Faces'"),
        (["k8s", *SLURM[1:], "--image", "x", "--name", "on", *PACK], "--name is 'on'.*YAML takes for"),
        ([*SLURM, "--setup", "export API_TOKEN=1", *PACK], "would set API_TOKEN for everybody"),
        ([*SLURM, "--option=--comment=a\nb", *PACK], "would break its line of the job's text"),
        ([*SLURM, *PACK[:-1], "s3://key:hidden@bucket/x"], "A word of pack holds a URL with user:password@"),
        ([*SLURM, *PACK, "--out=s3://key:hidden@bucket/x"], "A word of pack holds a URL with user:password@"),
        ([*SLURM, "--option=--array=1-9", *PACK], "--array=1-9 divides the work, and so does --machines"),
    ],
)
def test_what_does_not_fit_is_refused(words, says, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match=says):
        main([words[0], "--dry-run", *words[1:]])


def test_an_array_that_nothing_would_end_is_taken_back(tmp_path, monkeypatch):
    (tmp_path / "sbatch").write_text(
        '#!/bin/sh\ncase "$*" in *afterok*) echo full >&2; exit 1;; esac\necho 42\n'
    )
    (tmp_path / "scancel").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/cancelled\n')
    for name in ("sbatch", "scancel"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="afterok:42 .* was refused: full"):
        main([*SLURM, *PACK])
    assert (tmp_path / "cancelled").read_text() == "42\n"


def test_a_slip_of_the_pen_in_the_words_is_found_before_anything_is_submitted(capsys):
    with pytest.raises(SystemExit) as ended:
        main([*SLURM, *PACK, "--shard-frame", "x"])
    assert ended.value.code == 2
    assert "--shard-frame" in capsys.readouterr().err


def test_the_commands_on_the_page_are_understood(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs/cluster.md").read_text() + (ROOT / "launch/share.py").read_text()
    commands = [
        line.split()[3:] for line in page.splitlines() if line.strip().startswith("python -m launch.share")
    ]
    assert len(commands) == 6
    for target, *words in commands:
        assert main([target, "--dry-run", *(word for word in words if word != "--dry-run")]) == 0
        assert f"tsal-{'pack' if 'pack' in words else 'predict'}" in capsys.readouterr().out
