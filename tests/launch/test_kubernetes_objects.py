"""Kubernetes objects of a job: valid, bound to each other, confined, as patient as training, and what a patch changes."""

import re

import kubernetes_validate
import pytest
import yaml

from tests.launch.conftest import ROOT
from tests.launch.job_texts import DETACHED, GOLDEN, K8S, SHARED, TEXTS, jobs_of, render
from tsal_dist.errors import ConfigError

RULE_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
"""What JobSet's webhook takes for the name of a rule of its failure policy."""


@pytest.mark.parametrize("version", ["1.31", "1.34", kubernetes_validate.latest_version()])
@pytest.mark.parametrize(
    "path",
    [
        *(GOLDEN / name for name in [*TEXTS, *SHARED] if name.startswith("k8s")),
        ROOT / "launch/k8s/volume.yaml",
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
        *(GOLDEN / name for name in [*TEXTS, *SHARED] if name.startswith("k8s")),
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
    assert (one["apiVersion"], one["metadata"]["name"]) == ("jobset.x-k8s.io/v1alpha2", "tiny")
    assert one["metadata"]["labels"].items() >= config["metadata"]["labels"].items(), (
        "a delete takes both by it"
    )
    assert one["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert one["spec"]["successPolicy"]["targetReplicatedJobs"] == ["student"]
    student, teacher = one["spec"]["replicatedJobs"]
    assert (student["name"], teacher["name"]) == ("student", "teacher")
    rules = {rule["name"]: rule for rule in one["spec"]["failurePolicy"]["rules"]}
    assert {rule["action"] for rule in rules.values()} == {"FailJobSet"}
    assert all(RULE_NAME.fullmatch(name) for name in rules), rules.keys()
    assert rules["teacherMisconfigured"]["onJobFailureReasons"] == ["PodFailurePolicy"]
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
    [
        ("7", "run-7"),
        ("2024_wflw", "run-2024-wflw"),
        ("A.b_C", "a-b-c"),
        ("x" * 40, "x" * 40),
        ("on", "run-on"),
        ("Null", "run-null"),
    ],
)
def test_names_become_valid_ones(name, shown, capsys, monkeypatch):
    text = render([*K8S, "--procs-per-node", "2", f"run.name='{name}'"], capsys, monkeypatch)
    _, service, _ = yaml.safe_load_all(text)
    assert service["metadata"]["name"] == shown


PATCH = """
apiVersion: batch/v1
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
    for job in (job for one in objects if one["kind"] == "JobSet" for job in one["spec"]["replicatedJobs"]):
        assert set(job["template"]) == {"spec"}, (
            "kubectl refuses a template with a field that no template has"
        )
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
        (
            "kind: Job\nspec: {template: {spec: {containers: [{tty: true}]}}}",
            "does not fit .*containers by name",
        ),
        ("kind: Job\nspec: {template: {spec: {containers: [crew]}}}", "does not fit .*containers by name"),
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


@pytest.mark.parametrize("shape", [[], ["--jobset"]])
def test_another_config_is_another_object(shape, tmp_path, capsys, monkeypatch):
    """kubectl leaves an immutable object as it is and goes on to the next, which would then start with the old config."""
    (tmp_path / "more.toml").write_text("[train]\nseed = 1\n")
    words = [*K8S, *shape, "--procs-per-node", "2", "--config", str(tmp_path / "more.toml")]
    names = []
    for _ in range(2):
        config, *objects = yaml.safe_load_all(render(words, capsys, monkeypatch))
        assert config["immutable"]
        mounted = [
            volume["configMap"]["name"]
            for pod in pods_of(objects)
            for volume in pod["volumes"]
            if volume["name"] == "config"
        ]
        assert set(mounted) == {config["metadata"]["name"]}
        names.append(config["metadata"]["name"])
        assert render(words, capsys, monkeypatch).count(names[-1]) == 1 + len(mounted)
        (tmp_path / "more.toml").write_text("[train]\nseed = 2\n")
    assert len(set(names)) == 2


@pytest.mark.parametrize("text", ["  # mine\n[train]\nseed = 1\n", "\n\t# mine\n[train]\n", "   \n[train]\n"])
def test_a_config_file_may_begin_with_blanks(text, tmp_path, capsys, monkeypatch):
    (tmp_path / "mine.toml").write_text(text)
    words = [*K8S, "--procs-per-node", "2", "--config", str(tmp_path / "mine.toml")]
    config, *_ = yaml.safe_load_all(render(words, capsys, monkeypatch))
    assert config["data"]["1-mine.toml"] == text


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
