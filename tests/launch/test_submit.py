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
    slurm = ROOT / "launch" / "slurm"
    for text in (GOLDEN / name, slurm / "keep.sh", slurm / "pack.sbatch"):
        subprocess.run(["bash", "-n", str(text)], check=True)


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
    assert {one["metadata"]["name"] for one in objects} == {"tiny-teacher-night"}
    assert {one["metadata"]["labels"]["tsal-dist/run"] for one in objects} == {"tiny"}
    pod = objects[2]["spec"]["template"]["spec"]
    assert pod["subdomain"] == "tiny-teacher-night"
    assert {"name": "config", "configMap": {"name": "tiny-teacher-night"}} in pod["volumes"]
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
    monkeypatch.setattr("launch.submit._require", lambda program: None)
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


def jobs_of(one):
    """What the API's own schemas know: a set is its controller's, the Jobs in it are not."""
    if one["kind"] != "JobSet":
        return [one]
    templates = [job["template"] for job in one["spec"]["replicatedJobs"]]
    return [{"apiVersion": "batch/v1", "kind": "Job", **template} for template in templates]


@pytest.mark.parametrize("version", ["1.31", "1.34", kubernetes_validate.latest_version()])
@pytest.mark.parametrize(
    "path",
    [
        *(GOLDEN / name for name in TEXTS if name.startswith("k8s")),
        ROOT / "launch/k8s/volume.yaml",
        ROOT / "launch/k8s/pack.yaml",
    ],
)
def test_kubernetes_objects_fit_the_schemas(path, version):
    for one in yaml.safe_load_all(path.read_text()):
        for part in jobs_of(one):
            kubernetes_validate.validate(part, version, strict=True)


def pods_of(node):
    """Every pod's spec in an object, however deep."""
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for inner in node.values():
            yield from pods_of(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from pods_of(inner)


@pytest.mark.parametrize(
    "path",
    [
        *(GOLDEN / name for name in TEXTS if name.startswith("k8s")),
        ROOT / "launch/k8s/pack.yaml",
        ROOT / "launch/k8s/rayjob.yaml",
    ],
)
def test_no_container_may_do_more_than_it_must(path):
    """No root, no new rights, nothing to write into but volumes; only Ray's head, which asks for workers, has a token."""
    pods = [pod for one in yaml.safe_load_all(path.read_text()) for pod in pods_of(one)]
    assert pods
    for pod in pods:
        names = [container["name"] for container in pod["containers"]]
        assert pod["securityContext"]["runAsNonRoot"], names
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, names
        assert pod.get("automountServiceAccountToken", True) == (names == ["ray-head"]), names
        for container in pod["containers"]:
            locked = container["securityContext"]
            assert locked["readOnlyRootFilesystem"], names
            assert not locked["allowPrivilegeEscalation"], names
            assert locked["capabilities"] == {"drop": ["ALL"]}, names
            places = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert "/tmp" in places, f"{names}: Python and Ray write there"
            assert {mount["name"] for mount in container["volumeMounts"]} <= {
                volume["name"] for volume in pod["volumes"]
            }


def test_a_set_ends_with_its_student_and_spares_it_the_teacher_s_failures():
    config, one = yaml.safe_load_all((GOLDEN / "k8s-jobset.yaml").read_text())
    assert (one["apiVersion"], one["metadata"]["name"]) == (
        "jobset.x-k8s.io/v1alpha2",
        config["metadata"]["name"],
    )
    assert one["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert one["spec"]["successPolicy"]["targetReplicatedJobs"] == ["student"]
    student, teacher = one["spec"]["replicatedJobs"]
    assert (student["name"], teacher["name"]) == ("student", "teacher")
    rules = {rule["name"]: rule for rule in one["spec"]["failurePolicy"]["rules"]}
    assert {rule["action"] for rule in rules.values()} == {"FailJobSet"}
    assert rules["teacher-misconfigured"]["onJobFailureReasons"] == ["PodFailurePolicy"]
    limits = [job["template"]["spec"]["backoffLimit"] for job in (student, teacher)]
    assert limits[0] == 6
    assert limits[1] > 100 * limits[0], "a teacher's Job that fails would end the set"
    pods = [job["template"]["spec"]["template"]["spec"] for job in (student, teacher)]
    assert [pod["nodeSelector"]["gpu"] for pod in pods] == ["h100", "t4"]
    for job, pod in zip((student, teacher), pods, strict=True):
        # JobSet names pods by set, replicated job, its number, the pod's number; the set's network is the subdomain.
        assert f"--address=tiny-{job['name']}-0-0.tiny" in pod["containers"][0]["command"]
        assert pod["subdomain"] == one["spec"]["network"]["subdomain"] == "tiny"
        assert pod["containers"][0]["resources"]["limits"]["rdma/hca"] == 1
        assert [toleration["operator"] for toleration in pod["tolerations"]] == ["Exists", "Equal"]


def test_probes_are_as_patient_as_training(capsys, monkeypatch):
    """A filesystem that is away for 90 s makes every probe fail; nobody is to be killed for it."""
    text = render([*K8S, "--procs-per-node", "2", "runtime.deadlines.group_s=200"], capsys, monkeypatch)
    *_, job = yaml.safe_load_all(text)
    probe = job["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
    assert probe["periodSeconds"] * (probe["failureThreshold"] - 1) >= 200


def test_memory_is_asked_for_what_runs(capsys, monkeypatch):
    def memory(*words):
        *_, job = yaml.safe_load_all(render([*K8S, *words], capsys, monkeypatch))
        return int(
            job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"].removesuffix(
                "Mi"
            )
        )

    small, more_readers = memory("--procs-per-node", "2"), memory("--procs-per-node", "2", "data.workers=4")
    assert more_readers - small == 3 * 5 * 512
    assert memory("--gpus-per-node", "2") > small
    assert memory("--procs-per-node", "2", "--shm-gb", "8") - small == 4096
    assert memory("--procs-per-node", "2", "--memory", "7Mi") == 7


@pytest.mark.parametrize(
    ("name", "shown"),
    [("7", "run-7"), ("2024_wflw", "run-2024-wflw"), ("A.b_C", "a-b-c"), ("x" * 40, "x" * 40)],
)
def test_names_become_valid_ones(name, shown, capsys, monkeypatch):
    text = render([*K8S, "--procs-per-node", "2", f"run.name='{name}'"], capsys, monkeypatch)
    _, service, _ = yaml.safe_load_all(text)
    assert service["metadata"]["name"] == shown


PATCH = """
kind: Job
spec:
  ttlSecondsAfterFinished: 60
  template:
    spec:
      schedulerName: other
      containers:
        - name: crew
          env: [{name: NCCL_DEBUG, value: INFO}]
          startupProbe: null
      volumes:
        - name: shm
          emptyDir: {sizeLimit: 9Gi}
"""


@pytest.mark.parametrize("shape", [[], ["--jobset"]])
def test_a_patch_reaches_every_job(shape, tmp_path, capsys, monkeypatch):
    (tmp_path / "patch.yaml").write_text(PATCH)
    words = [*K8S, *shape, "--procs-per-node", "2", *DETACHED, "--patch", str(tmp_path / "patch.yaml")]
    objects = list(yaml.safe_load_all(render(words, capsys, monkeypatch)))
    jobs = [job for one in objects for job in jobs_of(one) if job["kind"] == "Job"]
    assert len(jobs) == 2
    for job in jobs:
        kubernetes_validate.validate(job, "1.31", strict=True)
        pod = job["spec"]["template"]["spec"]
        [container] = pod["containers"]
        assert (job["spec"]["ttlSecondsAfterFinished"], pod["schedulerName"]) == (60, "other")
        assert {env["name"] for env in container["env"]} == {"HOME", "NCCL_DEBUG"}
        assert "startupProbe" not in container
        assert container["livenessProbe"]["exec"]["command"][0] == "python"
        shm = next(volume for volume in pod["volumes"] if volume["name"] == "shm")
        assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "9Gi"}
        assert len(pod["volumes"]) == 4


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ("kind: Job\nmetadata: {name: tiny-student}\nspec: {suspend: true}", ""),
        (
            "kind: Job\nmetadata: {name: other}",
            "a Job other, and there is none. There are: .*Job tiny-student",
        ),
        ("spec: {}", "without a kind"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_patch_names_what_it_is_for(patch, says, tmp_path, capsys, monkeypatch):
    (tmp_path / "patch.yaml").write_text(patch)
    words = [*K8S, "--procs-per-node", "2", *DETACHED, "--patch", str(tmp_path / "patch.yaml")]
    if says:
        with pytest.raises(ConfigError, match=says):
            render(words, capsys, monkeypatch)
    else:
        *_, student, teacher = yaml.safe_load_all(render(words, capsys, monkeypatch))
        assert (student["spec"]["suspend"], "suspend" in teacher["spec"]) == (True, False)


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
