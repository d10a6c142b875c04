"""The writing side: a thread that puts versions on disk while training goes on."""

import logging
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from torch import Tensor

from tsal_dist.errors import ExchangeError
from tsal_dist.weights.format import list_steps, save_version, version_folder

logger = logging.getLogger(__name__)


class WeightPublisher:
    """Publishes the versions it is offered; of those that come while one is being written, only the newest.

    Rank 0 of a role owns one. After a restart from step N, versions beyond N are of a history that did not
    happen: `resume_step` removes them.
    """

    def __init__(self, folder: Path, recipe: str, keep: int, resume_step: int = 0) -> None:
        self._folder = folder
        self._recipe = recipe
        self._keep = keep
        self._news = threading.Condition()
        self._waiting: tuple[int, Mapping[str, Tensor], float | None] | None = None
        self._busy = False
        self._closed = False
        self._failure: OSError | None = None
        self.published = 0
        self.superseded = 0
        """Versions that were never written because a newer one came first."""
        self.failed = 0
        """Versions that the filesystem refused. Training goes on: the readers keep what they have."""
        folder.mkdir(parents=True, exist_ok=True)
        _remove_after(folder, resume_step)
        # A daemon: a disk that hangs must not keep the process from leaving.
        self._thread = threading.Thread(target=self._run, name="weight-publisher", daemon=True)
        self._thread.start()

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
            failure = None
            try:
                save_version(self._folder, step, tensors, self._recipe, nme)
                remove_old_versions(self._folder, self._keep)
            except OSError as error:
                failure = error
                logger.warning("could not publish the weights of step %d: %s", step, error)
                shutil.rmtree(self._folder / f".v{step:08d}.tmp", ignore_errors=True)
            with self._news:
                self._busy = False
                self._failure = failure
                self.published += failure is None
                self.failed += failure is not None
                self._news.notify_all()


def remove_old_versions(folder: Path, keep: int) -> None:
    """Remove all but the `keep` newest versions."""
    for step in list_steps(folder)[:-keep]:
        shutil.rmtree(version_folder(folder, step), ignore_errors=True)


def _remove_after(folder: Path, step: int) -> None:
    later = [other for other in list_steps(folder) if other > step]
    if not later:
        return
    logger.info("removing %d published versions after step %d, from before the restart", len(later), step)
    for other in later:
        shutil.rmtree(version_folder(folder, other))
