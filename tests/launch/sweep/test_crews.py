"""The crews of a trial on machines that only pretend: who is started where, whose end is the trial's."""

import json

import pytest

from launch.sweep import crews as crews_module
from launch.sweep.crews import Crews
from launch.sweep.place import fit_plan
from launch.sweep.trial_plan import plan_sweep
from tests.launch.conftest import ROOT
from tsal_dist.errors import ExitCode
from tsal_dist.run_dir import RunDir, write_whole

DETACHED = 'runtime.topology = "detached"'


class Pretence:
    """A machine on which nothing runs."""

    def __init__(self, address):
        self.address = address
        self.started = []
        self.codes = {}

    def free_port(self):
        return 4000 + len(self.started)

    def start(self, name, words, log, settings):
        self.started.append((name, words, log.name, settings))
        self.codes[name] = None
        return 1

    def poll(self):
        return dict(self.codes)


@pytest.fixture
def stage(tmp_path):
    """`stage(settings, nodes)` is the crews of a trial, and the machines they are on."""

    def make(settings, nodes=1, procs=2):
        file = tmp_path / "tiny.toml"
        place = f"[place]\nnodes = {nodes}\nprocs_per_node = {procs}\ncpus_per_proc = 4\n"
        file.write_text(f"[settings]\n{settings}\n{place}[space]\ntrain.seed = {{ choice = [0, 1] }}\n")
        plan = fit_plan(plan_sweep([str(ROOT / "configs/demo.toml")], [], file, {}, tmp_path), [])
        machines = [Pretence(f"host{number}") for number in range(nodes)]
        run = tmp_path / "run"
        return Crews(plan, plan.config, ["train.seed=1"], run, machines), machines, RunDir(run)

    return make


def leave_note(run_dir, role, code, reason):
    write_whole(run_dir.exit_note(role), json.dumps({"code": code, "reason": reason}).encode())


def test_two_machines_meet_at_the_first_one(stage):
    crews, machines, run_dir = stage("", nodes=2)
    crews.start()
    for rank, machine in enumerate(machines):
        ((name, words, log, settings),) = machine.started
        assert name == "world"
        assert words[-3:] == [f"--node-rank={rank}", "--address=host0", "--port=4000"]
        assert "train.seed=1" in words
        assert "--nodes=2" in words
        assert log == f"world-{rank}.log"
        assert settings == {"OMP_NUM_THREADS": "4"}
    assert crews.look() is None
    machines[1].codes["world"] = 0
    assert crews.look() is None
    machines[0].codes["world"] = 0
    assert crews.look().code is ExitCode.DONE


def test_one_machine_that_fails_is_the_trials_end_and_the_note_says_why(stage):
    crews, machines, run_dir = stage("", nodes=2)
    crews.start()
    machines[1].codes["world"] = 1
    leave_note(run_dir, "student", 1, "the loss is not finite")
    leave_note(run_dir, "teacher", 0, "done")
    ending = crews.look()
    assert (ending.code, ending.reason) == (ExitCode.FAILED, "the loss is not finite")


def test_a_crew_that_is_killed_has_failed_whatever_its_note_says(stage):
    crews, machines, run_dir = stage("")
    crews.start()
    machines[0].codes["world"] = -9
    for role in ("student", "teacher"):
        leave_note(run_dir, role, 0, "done")
    assert crews.look().code is ExitCode.FAILED


def test_a_wrong_config_is_told_from_a_failure(stage):
    crews, machines, run_dir = stage("")
    crews.start()
    machines[0].codes["world"] = 2
    leave_note(run_dir, "student", 2, "no such shards")
    leave_note(run_dir, "teacher", 75, "asked to stop")
    assert crews.look().code is ExitCode.WRONG_CONFIG


def test_a_teacher_of_its_own_is_started_again_and_the_student_does_not_notice(stage, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(crews_module.time, "monotonic", lambda: now[0])
    crews, (machine,), run_dir = stage(DETACHED)
    crews.start()
    for failure in range(crews_module.TEACHER_RESTARTS):
        machine.codes["teacher"] = 1
        assert crews.look() is None
        assert len(machine.started) == 2 + failure, "not before its pause is over"
        now[0] += 60
        assert crews.look() is None
        assert machine.started[-1][0] == "teacher"
    machine.codes["teacher"] = 1
    crews.look()
    now[0] += 600
    assert crews.look() is None
    assert len(machine.started) == 2 + crews_module.TEACHER_RESTARTS
    machine.codes["student"] = 0
    assert crews.look().code is ExitCode.DONE
