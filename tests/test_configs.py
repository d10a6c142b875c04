"""Every file in configs/ loads, opens with its command, and claims nothing that was not measured."""

from pathlib import Path

import pytest

from tsal_dist.config import load_config

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "configs").glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_config_loads_and_opens_with_its_command(file):
    config = load_config([file])
    first = file.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert f"-m tsal_dist.train --config configs/{file.name}" in first
    assert config.run.name == file.stem


@pytest.mark.parametrize("file", [f for f in FILES if f.stem != "demo"], ids=lambda file: file.name)
def test_what_was_not_measured_says_so(file):
    assert "not yet measured" in file.read_text()


def test_there_is_a_config_for_each_promised_data_set():
    assert {"demo", "300w_300vw", "wflw", "aflw"} <= {file.stem for file in FILES}
