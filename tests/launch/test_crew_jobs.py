"""Jobs of several crews of teachers: one for each, one that joins a run that is going, and what does not fit."""

import pytest
import yaml

from launch.submit import main
from tests.launch.conftest import ROOT
from tests.launch.job_texts import DETACHED, K8S, SLURM, TEXTS, render
from tsal_dist.errors import ConfigError, TopologyError


def test_each_crew_has_a_job_of_its_own(capsys, monkeypatch):
    words = ["--nodes", "2", "--gpus-per-node", "4", "--crews", "2", *DETACHED]
    text = render([*SLURM, *words], capsys, monkeypatch)
    assert [line.partition("=")[2] for line in text.splitlines() if "--job-name" in line] == [
        "tiny-student",
        "tiny-teacher",
        "tiny-teacher-c2",
    ]
    assert text.count("#SBATCH --nodes=1\n") == 2, "the two teachers, one on each machine before, are apart"
    assert "The teachers' crew c2. It works" in text
    assert "--role=teacher --crew=c2" in text
    assert "roles=(teacher-c2)" in text
    objects = list(yaml.safe_load_all(render([*K8S, *words], capsys, monkeypatch)))
    names = [one["metadata"]["name"] for one in objects if one["kind"] == "Job"]
    assert names == ["tiny-student", "tiny-teacher", "tiny-teacher-c2"]
    [_, jobset] = yaml.safe_load_all(render([*K8S, "--jobset", *words], capsys, monkeypatch))
    assert [job["name"] for job in jobset["spec"]["replicatedJobs"]] == ["student", "teacher", "teacher-c2"]
    rule = jobset["spec"]["failurePolicy"]["rules"][-1]
    assert rule["targetReplicatedJobs"] == ["teacher", "teacher-c2"]


def test_a_crew_that_joins_brings_all_that_it_needs_under_the_run_s_label(capsys, monkeypatch):
    objects = list(yaml.safe_load_all(render(TEXTS["k8s-crew.yaml"], capsys, monkeypatch)))
    config, *others = (one["metadata"]["name"] for one in objects)
    assert config.startswith("tiny-teacher-night-"), "and a digest of what it holds"
    assert set(others) == {"tiny-teacher-night"}
    assert {one["metadata"]["labels"]["tsal-dist/run"] for one in objects} == {"tiny"}
    pod = objects[2]["spec"]["template"]["spec"]
    assert pod["subdomain"] == "tiny-teacher-night"
    assert {"name": "config", "configMap": {"name": config}} in pod["volumes"]
    assert "--address=tiny-teacher-night-0.tiny-teacher-night" in pod["containers"][0]["command"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--crew", "night", "--crews", "2"], None),
        (["--crew", "Night"], "small letter"),
        (["--crew", "night", "method.name=supervised"], "no teacher"),
        (["--crew", "night", "runtime.topology=inline"], "takes turns"),
        (["--crews", "2"], "runtime.topology is 'split'"),
        (["--crews", "3", "runtime.topology=detached", "runtime.teachers=2"], "equal crews"),
        (["--crew", "night"], "holds none"),
    ],
)
def test_crews_that_do_not_fit_are_refused(words, says, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("launch.submit.require", lambda program: None)
    command = [*SLURM, "--procs-per-node", "4", f"run.dir={tmp_path}/run", *words]
    if says is None:
        with pytest.raises(SystemExit):
            main(command)
        assert "not allowed with" in capsys.readouterr().err
        return
    with pytest.raises((ConfigError, TopologyError), match=says):
        main(command)


def test_a_set_takes_no_crew_later():
    with pytest.raises(ConfigError, match="JobSet takes no further Jobs"):
        main([*TEXTS["k8s-crew.yaml"], "--jobset", "--dry-run"])
