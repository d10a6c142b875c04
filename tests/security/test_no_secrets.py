"""Credentials stay where they are: in no config snapshot, log, error, report or job file."""

import os
import subprocess
import sys

import pytest

from launch.hand_over import refuse_variables
from tests.pack.footage import make_image
from tests.roles.short_runs import pack_faces, words
from tests.test_address import GIVEAWAYS, SECRET
from tests.test_house import ROOT
from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError, ExitCode
from tsal_dist.exchange.locate import open_store
from tsal_dist.pack.foreign import index_folder
from tsal_dist.shards import files

URL = GIVEAWAYS[0]
CANARIES = {
    name: f"{SECRET}-{number}"
    for number, name in enumerate(
        (
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AZURE_STORAGE_KEY",
            "WANDB_API_KEY",
        )
    )
}


def say(*argv, code, **environment):
    """What a command prints, with secrets in its environment."""
    done = subprocess.run(
        [sys.executable, *argv],
        cwd=ROOT,
        env={**os.environ, **CANARIES, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "key", ["data.labelled", "data.validation", "data.cache_dir", "run.dir", "model.weights"]
)
def test_no_setting_takes_a_url_with_a_secret(key):
    with pytest.raises(ConfigError, match=key) as refusal:
        load_config([], [f"{key}={URL}"])
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "override", [f"data.labelled=['{URL}']", f"no.such={URL}", f"train.steps={URL}", URL]
)
def test_no_mistake_beside_it_repeats_the_secret(override):
    with pytest.raises(ConfigError) as refusal:
        load_config([], [override])
    assert SECRET not in str(refusal.value)


def test_a_config_file_is_no_exception(tmp_path):
    (tmp_path / "c.toml").write_text(f'[data]\nlabelled = ["shards/a", "{URL}"]\n')
    with pytest.raises(ConfigError, match=r"data\.labelled") as refusal:
        load_config([tmp_path / "c.toml"])
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("url", GIVEAWAYS[:4])
@pytest.mark.parametrize(
    "use",
    [
        files.read_bytes, files.list_names, files.size_bytes, files.exists, files.make_folder, open_store,
        index_folder,
    ],
)  # fmt: skip
def test_no_reader_gets_as_far_as_the_network(use, url):
    with pytest.raises(ConfigError, match="put credentials into the environment") as refusal:
        use(url)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "argv",
    [
        ("tools/shard_videos.py", "--lists", "LIST", "--out", URL, "--split", "a"),
        ("tools/inspect_shards.py", "info", URL),
        ("tools/label_queue.py", "info", URL),
        ("-m", "tsal_dist.train", "--dry-run", "runtime.topology=inline", f"data.labelled={URL}"),
        ("-m", "launch.local", "--dry-run", f"data.labelled={URL}"),
        (
            "-m",
            "launch.submit",
            "k8s",
            "--dry-run",
            "--image=i",
            "--procs-per-node=2",
            f"data.labelled={URL}",
        ),
        ("-m", "launch.submit", "slurm", "--dry-run", "--procs-per-node=2", f"data.labelled={URL}"),
        (
            "-m",
            "launch.submit",
            "slurm",
            "--dry-run",
            "--procs-per-node=2",
            f"--setup=export MY_TOKEN={SECRET}",
        ),
        (
            "-m",
            "launch.submit",
            "slurm",
            "--dry-run",
            "--procs-per-node=2",
            f"--option=--export=A_SECRET={SECRET}",
        ),
    ],
    ids=lambda argv: " ".join(word for word in argv[:3]),
)
def test_no_command_takes_one_or_prints_one(argv, tmp_path):
    make_image(tmp_path / "face.png")
    (tmp_path / "l.txt").write_text("face.png None 1 1 2 2\n")
    argv = [str(tmp_path / "l.txt") if word == "LIST" else word for word in argv]
    assert SECRET not in say(*argv, code=ExitCode.WRONG_CONFIG)


@pytest.mark.parametrize(
    "line",
    [
        "export DB_PWD={}", "PASSPHRASE='{}'", "export A=1 REGISTRY_CREDENTIAL={}", "MY_JWT={}", "SSH_PRIVATE_KEY={}", "HF_TOKEN={}",
        "AWS_SESSION_TOKEN={}", "login --api-key={}", "login --password={}", "--export=ALL,AUTH={}", "X_SECRET='$a{}'", "pwd={}",
    ],
)  # fmt: skip
def test_no_line_of_a_job_sets_one(line):
    with pytest.raises(ConfigError, match="Keep it in a file that only you can read") as refusal:
        refuse_variables(line.format(SECRET))
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "line",
    [
        "export TMUX_SESSION=night", "XDG_SESSION_ID=3", "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/bus", "PWD=/home/me", "OLDPWD=/",
        "CODE=~/code", "KEY=3", "AUTHOR=me", "TOKENIZERS_PARALLELISM=false", "--account=lab", "--comment=monkey=business",
        "GOOGLE_APPLICATION_CREDENTIALS=~/key.json", "HF_TOKEN_PATH=~/.token", "login --token-file=~/.token", "DB_PWD=$MINE",
        'DB_PWD="$(pass db)"', "HF_TOKEN=`cat ~/.token`", "source ~/.tsal-credentials",
    ],
)  # fmt: skip
def test_a_line_that_only_sounds_like_one_is_taken(line):
    refuse_variables(line)


@pytest.mark.parametrize("target", ["slurm", "k8s"])
@pytest.mark.parametrize("topology", ["split", "detached"])
def test_a_job_file_holds_nothing_of_the_environment_it_was_made_in(target, topology):
    more = ["--image=registry/tsal"] if target == "k8s" else []
    config = ["--config", "configs/demo.toml", f"runtime.topology={topology}"]
    text = say("-m", "launch.submit", target, "--dry-run", "--procs-per-node=2", *more, *config, code=0)
    assert len(text) > 500
    assert SECRET not in text


@pytest.mark.slow
@pytest.mark.ranks
def test_a_whole_run_leaves_no_trace_of_the_environment(tmp_path):
    """Training, status, report and evaluation, with credentials all around; every byte on disk is looked at."""
    faces, run = pack_faces(tmp_path / "faces"), tmp_path / "run"
    said = say("-m", "launch.local", *words(faces, run, "runtime.topology=split", "train.steps=4"), code=0)
    said += say("tools/status.py", str(run), code=0)
    said += say("tools/report.py", str(run), "--shards", faces.held_out, code=0)
    said += say("-m", "tsal_dist.evaluate", "--run", str(run), "--shards", faces.held_out, code=0)
    left = [path for path in run.rglob("*") if path.is_file()]
    assert {"run.json", "index.html", "COMMIT"} <= {path.name for path in left}
    assert any(path.suffix == ".log" for path in left)
    assert SECRET not in said
    assert not [path for path in left if SECRET.encode() in path.read_bytes()]
