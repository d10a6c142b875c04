"""The writing side: a thread that puts versions on disk while training goes on."""

import logging
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from torch import Tensor

from tsal_dist.config.runtime import DeadlinesConfig
from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.room import when_there_is_room
from tsal_dist.exchange.tenure import Tenure
from tsal_dist.run_dir import make_folder, plainly
from tsal_dist.weights.format import (
    aside_folder,
    list_versions,
    outlived,
    save_version,
    version_folder,
)

logger = logging.getLogger(__name__)


class WeightPublisher:
    """Publishes the versions it is offered; of those that come while one is being written, only the newest.

    Rank 0 of a role owns one; `tenure` is its turn, after which nothing is published or removed any more.
    """

    def __init__(
        self,
        folder: Path,
        recipe: str,
        keep: int,
        tenure: Tenure | None = None,
        limits: DeadlinesConfig | None = None,
    ) -> None:
        """Within `limits` a full disk is waited for, in the background."""
        self._folder = folder
        self._recipe = recipe
        self._keep = keep
        self._tenure = tenure
        self._limits = limits
        # A run that was copied begins to count anew, and still comes after what it was copied from.
        self._incarnation = max([tenure.incarnation if tenure else 0, *list_versions(folder).values()])
        self._news = threading.Condition()
        self._waiting: tuple[int, Mapping[str, Tensor], float | None] | None = None
        self._busy = False
        self._closed = False
        self._failure: OSError | ExchangeError | None = None
        self.published = 0
        self.superseded = 0
        """Versions that were never written because a newer one came first."""
        self.failed = 0
        """Versions that the filesystem refused. Training goes on: the readers keep what they have."""
        when_there_is_room(lambda: _make(folder), limits)
        # A daemon: a disk that hangs must not keep the process from leaving.
        self._thread = threading.Thread(target=self._run, name="weight-publisher", daemon=True)
        self._thread.start()

    def forget_after(self, step: int) -> None:
        """Remove the versions after `step`, from which this role goes on: they are of a history that did not happen."""
        self._require_current()
        steps = list_versions(self._folder)
        later = {other: owner for other, owner in steps.items() if other > step}
        if not later:
            return
        logger.info("removing %d published versions after step %d, from before the restart", len(later), step)
        for other, owner in later.items():
            _remove(version_folder(self._folder, other, owner))

    def offer(self, step: int, tensors: Mapping[str, Tensor], nme: float | None = None) -> None:
        """Hand a version over and return at once. The tensors must not change afterwards."""
        with self._news:
            if self._waiting is not None:
                self.superseded += 1
            self._waiting = (step, tensors, nme)
            self._news.notify_all()

    def flush(self, timeout_s: float) -> None:
        """Wait until what was offered last is on disk; the deterministic mode does so after every offer."""
        with self._news:
            if not self._news.wait_for(lambda: self._waiting is None and not self._busy, timeout_s):
                raise ExchangeError(
                    f"Weights were not on disk after {timeout_s:g} s in {self._folder}. Is the filesystem hanging?"
                )
            if self._failure is not None:
                raise ExchangeError(
                    f"Weights could not be published in {self._folder}: {self._failure}. Free space or mend "
                    f"the filesystem, then resume."
                ) from self._failure

    def close(self, timeout_s: float = 60.0) -> None:
        """Write what was offered last, then end the thread."""
        try:
            self.flush(timeout_s)
        finally:
            with self._news:
                self._closed = True
                self._news.notify_all()
            self._thread.join(timeout_s)

    def __enter__(self) -> "WeightPublisher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._closed or self._waiting is not None)
                if self._waiting is None:
                    return
                (step, tensors, nme), self._waiting, self._busy = self._waiting, None, True
            failure = self._publish(step, tensors, nme)
            with self._news:
                self._busy = False
                self._failure = failure
                self.published += failure is None
                self.failed += failure is not None
                self._news.notify_all()

    def _publish(
        self, step: int, tensors: Mapping[str, Tensor], nme: float | None
    ) -> OSError | ExchangeError | None:
        """Write one version; what went wrong, if anything did."""

        def save() -> None:
            save_version(
                self._folder, step, tensors, self._recipe, nme, self._incarnation, self._require_current
            )

        try:
            when_there_is_room(save, self._limits)
        except (OSError, ExchangeError) as error:
            logger.warning("could not publish the weights of step %d: %s", step, error)
            shutil.rmtree(aside_folder(self._folder, step, self._incarnation), ignore_errors=True)
            return error
        try:
            for old in outlived(self._folder, self._incarnation, self._keep):
                _remove(old)
        except ExchangeError as error:
            logger.warning("old versions stay: %s", error)
        return None

    def _require_current(self) -> None:
        if self._tenure:
            self._tenure.require()


def _make(folder: Path) -> None:
    with plainly("create", folder):
        make_folder(folder)


def _remove(place: Path) -> None:
    """What cannot be removed stays, and costs only room."""
    try:
        shutil.rmtree(place)
    except OSError as error:
        logger.warning("%s cannot be removed (%s); it is no longer needed", place, error)
