"""The command `tsal`: quick help, verbs in the order of a day, and what pip installs."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tsal_dist import __version__
from tsal_dist.door import VERBS, main
from tsal_dist.errors import ConfigError

ROOT = Path(__file__).parents[1]


def tsal(*argv, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "tsal_dist", *argv], cwd=cwd, capture_output=True, text=True, timeout=120
    )


def test_help_names_every_verb_in_order_and_imports_nothing_heavy():
    code = "import sys; from tsal_dist.door import main; main(['--help']); "
    code += (
        "print([name for name in ('torch', 'cv2', 'pyarrow', 'pydantic', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    *text, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    named = [line.split()[0] for line in text if line.startswith("    ") and "--help" not in line]
    assert named == [verb.name for verb in VERBS]


def test_help_is_there_at_once():
    """The interpreter's own start included; the best of three, as the machine may be busy."""
    took = []
    for _ in range(3):
        start = time.perf_counter()
        assert tsal("--help").returncode == 0
        took.append(time.perf_counter() - start)
    assert min(took) < 0.3


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_has_a_page_that_calls_itself_by_it(verb, capsys):
    with pytest.raises(SystemExit) as leaving:
        main([verb, "--help"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out.startswith((f"usage: tsal {verb} [", f"usage: tsal {verb} {{"))


def test_a_verb_that_is_none_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="tsal knows no 'evalute'. Did you mean 'evaluate'"):
        main(["evalute"])
    assert tsal("nothing").returncode == 2


def test_settings_can_be_asked_for_by_words():
    found = tsal("config", "warmup").stdout
    assert "train.optim.warmup_steps" in found
    assert "data.workers" not in found
    assert "No setting speaks of 'zebra'" in tsal("config", "zebra").stderr


@pytest.mark.slow
def test_pip_installs_the_command_with_all_its_verbs(tmp_path):
    """From a checkout into a bare venv; what the library depends on is borrowed from this one, so nothing is loaded."""
    import site

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    (inside,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    build = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target", str(inside)]
    copy = tmp_path / "checkout"
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
    )
    for name in tracked.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-m", "pip", "install", *build, str(copy)], check=True, timeout=200)
    borrowed = [folder for folder in site.getsitepackages() if Path(folder).is_dir()]
    (inside / "borrowed.pth").write_text("\n".join(borrowed))
    run = [str(tmp_path / "venv" / "bin" / "python"), "-I", "-m", "tsal_dist"]
    said = subprocess.run([*run, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout == f"tsal_dist {__version__}\n"
    where = "import tsal_dist; print(tsal_dist.__file__)"
    told = subprocess.run([run[0], "-I", "-c", where], capture_output=True, text=True, check=True)
    assert str(inside) in told.stdout
    listed = subprocess.run([*run, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert all(f"    {verb.name} " in listed for verb in VERBS)
    for verb in ("pack", "status", "predict", "plan"):
        page = subprocess.run(
            [*run, verb, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert page.stdout.startswith(f"usage: tsal {verb} ")
    assert (inside / "bin" / "tsal").is_file(), "the command itself"
