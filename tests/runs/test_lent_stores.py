"""Labels that have gone from run to run: each store is lent by itself, whoever has learnt from it before."""

from types import SimpleNamespace

from tsal_dist.exchange.posix import PosixStore
from tsal_dist.pseudo.borrowed import BorrowedStore
from tsal_dist.pseudo.topic import list_producers
from tsal_dist.run_dir import RunDir
from tsal_dist.runs import other_runs

NAME = "teacher-r0000-000001"


def test_a_run_that_learnt_from_two_lends_both_of_them(tmp_path, monkeypatch):
    """Its second run's producers and those of the next run lent beside it would have one name."""
    offline = {"one": (), "two": (), "both": ("one", "two"), "third": ()}
    runs = {
        name: SimpleNamespace(
            dir=RunDir(tmp_path / name),
            config=SimpleNamespace(runtime=SimpleNamespace(replay="", offline=sources)),
        )
        for name, sources in offline.items()
    }
    monkeypatch.setattr(other_runs, "load_run", runs.__getitem__)
    for name in ("one", "two", "third"):
        store = PosixStore(runs[name].dir.queue("labels"), create=True)
        store.put_new(f"p/{NAME}/LOG", name.encode())
    lent = [store for name in ("both", "third") for store in other_runs._stores_of(runs[name])]
    borrowed = BorrowedStore(PosixStore(tmp_path / "own", create=True), lent)
    names = list_producers(borrowed)
    assert names == [NAME, "teacher-r10000-000001", "teacher-r20000-000001"]
    assert [borrowed.get(f"p/{name}/LOG") for name in names] == [b"one", b"two", b"third"]
