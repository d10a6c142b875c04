"""Crews are a pure function of config and resources, and agree with the roles that training will take."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.process_plan import (
    Crew,
    Meeting,
    crew_settings,
    default_procs,
    load_of,
    plan_crew,
    plan_crews,
    torchrun_command,
)
from tests.launch.conftest import ROOT
from tsal_dist.config import load_config
from tsal_dist.dist.topology import assign_roles
from tsal_dist.errors import TopologyError

WORLD = Crew("", ("student", "teacher"), 0, 1, 3)
TEACHER = Crew("teacher", ("teacher",), 1, 2, 2, first_proc=3)


def config(*overrides):
    return load_config(
        [], ['data.labelled=["a"]', 'data.unlabelled=["a"]', 'data.validation=["b"]', *overrides]
    )


@pytest.mark.parametrize(("name", "nodes"), [("gpu8", 1), ("gpu2x8", 2)])
def test_the_machine_that_a_config_names_has_a_core_for_all_that_runs(name, nodes):
    file = ROOT / "configs" / f"{name}.toml"
    gpus, cores = map(int, re.search(r"of (\d+) GPUs with (\d+) cores each", file.read_text()).groups())
    shipped = load_config([file])
    (crew,) = plan_crews(shipped, nodes, gpus)
    assert load_of(shipped, crew).cores <= gpus * cores


def test_split_is_one_crew_in_which_both_roles_sit():
    assert plan_crews(config(), 1, 3) == (WORLD,)
    assert plan_crews(config("method.name=supervised"), 2, 4) == (Crew("", ("student",), 0, 2, 4),)
    assert plan_crews(config("runtime.topology=inline"), 1, 1) == (Crew("", ("student",), 0, 1, 1),)


@pytest.mark.parametrize(
    ("teachers", "nodes", "procs", "student", "teacher"),
    [
        ("1", 1, 4, (0, 1, 3, 0), (0, 1, 1, 3)),
        ("node", 3, 4, (0, 3, 3, 0), (0, 3, 1, 3)),
        ("8", 3, 4, (0, 1, 4, 0), (1, 2, 4, 0)),
        (".5", 2, 4, (0, 1, 4, 0), (1, 1, 4, 0)),
    ],
)
def test_detached_divides_the_processes_as_split_does(teachers, nodes, procs, student, teacher):
    crews = plan_crews(config("runtime.topology=detached", f"runtime.teachers={teachers}"), nodes, procs)
    assert crews == (Crew("student", ("student",), *student), Crew("teacher", ("teacher",), *teacher))


@given(nodes=st.integers(1, 6), procs=st.integers(1, 8), teachers=st.integers(0, 48))
def test_crews_seat_everyone_once_or_say_what_to_do(nodes, procs, teachers):
    settings = config("runtime.topology=detached", f"runtime.teachers={teachers}")
    refused = ""
    try:
        crews = plan_crews(settings, nodes, procs)
    except TopologyError as error:
        refused = str(error)
    if refused:
        assert any(way_out in refused for way_out in ("Start at least", "Set runtime", "Use "))
        return
    places = {
        (node, proc): crew.role
        for crew in crews
        for node in range(crew.first_node, crew.first_node + crew.nodes)
        for proc in range(crew.first_proc, crew.first_proc + crew.procs)
    }
    seats = assign_roles(nodes * procs, procs, str(teachers))
    assert [places[divmod(rank, procs)] for rank in range(nodes * procs)] == [seat.role for seat in seats]
    assert len(places) == sum(crew.nodes * crew.procs for crew in crews)


@pytest.mark.parametrize(
    ("teachers", "nodes", "procs", "crews", "found"),
    [
        ("2", 1, 4, 2, [(0, 1, 1, 2, ""), (0, 1, 1, 3, "c2")]),
        ("node", 4, 2, 2, [(0, 2, 1, 1, ""), (2, 2, 1, 1, "c2")]),
        ("8", 3, 4, 4, [(1, 1, 2, 0, ""), (1, 1, 2, 2, "c2"), (2, 1, 2, 0, "c3"), (2, 1, 2, 2, "c4")]),
    ],
    ids=["processes", "machines", "both"],
)
def test_teachers_are_divided_into_crews(teachers, nodes, procs, crews, found):
    settings = config("runtime.topology=detached", f"runtime.teachers={teachers}")
    student, *others = plan_crews(settings, nodes, procs, crews)
    assert student == plan_crews(settings, nodes, procs)[0]
    shapes = [(crew.first_node, crew.nodes, crew.procs, crew.first_proc, crew.name) for crew in others]
    assert shapes == found
    assert [crew.plays for crew in others[:2]] == [("teacher",), ("teacher-c2",)]


def test_a_crew_s_processes_know_their_crew():
    words = torchrun_command(plan_crew(config(), "night", 1, 2), Meeting(), [], [])
    assert words[-3:] == ["runtime.topology=detached", "runtime.role=teacher", "runtime.crew=night"]


def test_a_recipe_without_a_teacher_is_a_student_alone():
    crews = plan_crews(config("runtime.topology=detached", "method.name=supervised"), 2, 4)
    assert crews == (Crew("student", ("student",), 0, 2, 4),)


def test_a_launcher_starts_every_role():
    with pytest.raises(TopologyError, match="Remove the setting"):
        plan_crews(config("runtime.topology=detached", "runtime.role=student"), 1, 2)


@pytest.mark.parametrize(
    ("overrides", "procs"),
    [
        ((), 2),
        (("runtime.teachers=3",), 4),
        (("runtime.teachers=node",), 2),
        (("runtime.teachers=.25",), 2),
        (("runtime.topology=inline",), 1),
        (("method.name=supervised",), 1),
    ],
)
def test_the_default_is_the_fewest_processes_that_fill_every_role(overrides, procs):
    assert default_procs(config(*overrides)) == procs
    assert plan_crews(config(*overrides), 1, procs)


def test_commands():
    alone = torchrun_command(WORLD, Meeting(), ["a.toml"], ["train.steps=5"])
    assert alone[1:] == [
        *("-m", "tsal_dist.dist.loopback", "--nproc-per-node=3"),
        *("-m", "tsal_dist.train", "--resume-or-start", "--config", "a.toml", "train.steps=5"),
    ]
    among = torchrun_command(TEACHER, Meeting(1, "host1", 29501), [], [])
    assert among[2] == "torch.distributed.run"
    assert among[3:7] == ["--nnodes=2", "--node-rank=1", "--master-addr=host1", "--master-port=29501"]
    assert among[-2:] == ["runtime.topology=detached", "runtime.role=teacher"]


def test_settings():
    settings = crew_settings(config("runtime.deadlines.shutdown_s=301.4"), WORLD, ["0", "1"], "eth0")
    assert settings == {
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "301",
        "GLOO_SOCKET_IFNAME": "eth0",
        "NCCL_SOCKET_IFNAME": "eth0",
    }


@pytest.mark.parametrize(
    ("gpus", "chosen"),
    [
        ((), None),
        (("0", "1", "2", "3", "4"), "3,4"),
        (("GPU-a", "GPU-b", "GPU-c", "GPU-d"), "GPU-d,GPU-a"),
        (("7",), "7"),
    ],
)
def test_crews_on_one_machine_take_different_gpus_while_there_are_enough(gpus, chosen):
    assert crew_settings(config(), TEACHER, gpus).get("CUDA_VISIBLE_DEVICES") == chosen
