"""Where a new run begins, found out while it has no folder yet: what is refused here does not stand in the way of the same
command with other settings. And the data of a run whose folder is there."""

from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.config import RunConfig
from tsal_dist.dist.environment import Environment
from tsal_dist.dist.topology import Seat
from tsal_dist.errors import TsalError
from tsal_dist.run import Mode, Origin, Run, run_folder
from tsal_dist.run_dir import RunDir
from tsal_dist.runs.build import build_recipe, build_task
from tsal_dist.runs.exit_note import leave_note
from tsal_dist.runs.fork import find_origin, read_origin
from tsal_dist.runs.open_data import Shards, open_checked


def begin(config: RunConfig, environment: Environment, seat: Seat, mode: Mode) -> Origin | None:
    """What `open_run` asks before it makes or deletes anything. Raises where the origin or the data cannot be had.

    Launchers read notes, and start again what left none: they get one, and so nothing but `ctl` is left behind.
    """
    place = RunDir(run_folder(config))
    taken = place.run_json.exists()
    try:
        origin = find_origin(config)
        if not (taken and mode == "new"):  # which is refused for that
            open_checked(config, environment.rank == 0 and seat.role != "teacher", origin)
            if origin:
                read_origin(origin)
            if config.has_teacher:
                _refuse_teachers(config)
        return origin
    except TsalError as error:
        if environment.launched and not taken:
            run = Run(place, "", config, resumed=False)
            leave_note(run, seat, (), error.exit_code, str(error), environment.restart_count)
        raise


def _refuse_teachers(config: RunConfig) -> None:
    """Raise where a detector that the method brings along is not there, or does not fit."""
    for member in build_recipe(config, build_task(config)).panel.values():
        if member.build:
            member.build()


def open_whole(run: Run, seat: Seat, rank: int) -> Shards:
    """The run's data. Where a launcher has made its folder, or a teacher that came first, nobody has looked at them yet: the
    student's first process does, until there is something that was learnt from them."""
    leads = rank == 0 and seat.role != "teacher" and run.resumed
    unseen = leads and Checkpoints.to_read(run.dir.checkpoints("student")).latest_committed() is None
    return open_checked(run.config, unseen, run.origin)
