"""Every error this library raises on purpose.

    TsalError
    ├── AskedToLeave       a signal came while the process was starting: start it again
    ├── ConfigError        a value the user can change: the key, the rule, the way out
    │   ├── MissingExtra   an optional dependency is not installed: the command that installs it
    │   └── TopologyError  the ranks asked for do not fit the ranks that came
    ├── DataError          a video, shard or sample is missing or broken: path and key
    ├── ExchangeError      something between the roles is broken or unwritable
    │   ├── StaleRun       another run, or a later incarnation, owns what was touched
    │   ├── DiskFull       no room for what was to be written: free some, nothing is lost
    │   ├── QueueFull      backpressure: the reader is behind, try again after it caught up
    │   └── PeerLost       the other side was silent past its deadline: who, where, since when
    ├── CheckpointError    absent, incomplete, or of another run
    └── TrainingError      the numbers went wrong: not finite, collapsed

A message is one sentence or two: the value found, the rule it breaks, the remedy. Entry points print it on
one line and leave with `exit_code`; a traceback is reserved for defects of this library.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a process tells its launcher."""

    DONE = 0
    FAILED = 1
    WRONG_CONFIG = 2
    """Starting again would not help: a person has to change something."""
    REQUEUE = 75
    """The work is saved and not finished: start me again. (EX_TEMPFAIL of sysexits.)"""

    @classmethod
    def of(cls, code: int) -> "ExitCode":
        """A code that is none of these says only that it did not end well, such as a signal's."""
        return cls(code) if code in list(cls) else cls.FAILED


class TsalError(Exception):
    """The root: catch this to catch everything this library raises on purpose."""

    exit_code = ExitCode.FAILED


class AskedToLeave(TsalError):
    """A signal came before there was anything to save."""

    exit_code = ExitCode.REQUEUE


class ConfigError(TsalError):
    """A setting, argument or input file that the user can correct."""

    exit_code = ExitCode.WRONG_CONFIG


class MissingExtra(ConfigError):
    """An optional dependency is needed and absent."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f"Install it with: pip install 'tsal_dist[{extra}]'"
        )
        self._words = package, extra, purpose

    def __reduce__(self) -> tuple[type["MissingExtra"], tuple[str, str, str]]:
        """Errors cross from a cluster's processes to whoever asked them."""
        return MissingExtra, self._words


class TopologyError(ConfigError):
    """The processes that came do not fit the roles that were asked for."""


class DataError(TsalError):
    """A video, annotation, shard or sample that cannot be used."""


class ExchangeError(TsalError):
    """The files between the roles cannot be read or written as the protocol demands."""


class StaleRun(ExchangeError):
    """What was touched belongs to another run or to a later incarnation."""


class DiskFull(ExchangeError):
    """There is no room for what was to be written; all that was committed is there."""


class QueueFull(ExchangeError):
    """The consumer is behind by more than the high-water mark."""


class PeerLost(ExchangeError):
    """The other side was silent past its deadline."""


class CheckpointError(TsalError):
    """A checkpoint that is absent, incomplete or of another run."""


class TrainingError(TsalError):
    """Training itself went wrong: a loss that is not finite, a detector that collapsed."""
