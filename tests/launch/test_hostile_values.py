"""Names and values that try to write into a job's text: none adds a line, a command or a key."""

import subprocess

import pytest
import yaml

from launch.submit import main
from tests.launch.conftest import ROOT
from tests.launch.job_texts import K8S, SLURM
from tsal_dist.errors import ConfigError

HOSTILE = (
    "a\nINJECTED=1",
    "a\r\nINJECTED=1",
    "a\u2028INJECTED",
    'a" INJECTED "',
    "a' INJECTED '",
    "$(INJECTED)",
    "a: {INJECTED: 1}",
    "a # INJECTED",
    "a %j INJECTED",
    "\\",
    "- INJECTED",
)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    "flag",
    [
        "run.name=",
        "run.dir=runs/",
        "data.labelled=",
        "--partition=",
        "--account=",
        "--mem=",
        "--python=",
        "--container=",
        "--stage=",
        "--option=--comment=",
    ],
)
def test_no_value_adds_a_line_or_a_command_to_a_slurm_job(flag, value, capsys, monkeypatch, tmp_path):
    """Read by bash with every program replaced by one that does nothing; only --setup is the user's own shell."""
    monkeypatch.chdir(ROOT)
    try:
        main([*SLURM, "--gpus-per-node=2", flag + value, "--dry-run"])
    except ConfigError:
        return
    text = capsys.readouterr().out
    options = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    assert len(options) == 12 + flag.startswith(("--partition", "--mem", "--option")), options
    assert not [line for line in text.splitlines() if line.lstrip().startswith("INJECTED")]
    read = subprocess.run(
        [
            "bash",
            "-c",
            "INJECTED() { echo ran; }; source() { :; }; keep() { :; }; leave() { exit 0; }; await() { :; }\n"
            + text,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert read.stdout == "", read.stdout
    assert read.returncode == 0, read.stderr


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    "flag",
    [
        "run.name=",
        "data.labelled=",
        "--image=",
        "--claim=",
        "--queue=",
        "--priority=",
        "--pull-secret=",
        "--node-label=k=",
    ],
)
def test_no_value_adds_a_key_to_a_kubernetes_object(flag, value, capsys, monkeypatch):
    def shape(node):
        if isinstance(node, dict):
            return {key: shape(inner) for key, inner in node.items()}
        return [shape(inner) for inner in node] if isinstance(node, list) else type(node)

    monkeypatch.chdir(ROOT)
    main([*K8S, "--gpus-per-node=2", flag + "harmless", "--dry-run"])
    harmless = shape([*yaml.safe_load_all(capsys.readouterr().out)])
    try:
        main([*K8S, "--gpus-per-node=2", flag + value, "--dry-run"])
    except ConfigError:
        return
    assert shape([*yaml.safe_load_all(capsys.readouterr().out)]) == harmless
