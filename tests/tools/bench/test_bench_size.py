"""What a detector costs, counted by hand for a net that is small enough."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tools.bench.size import BEGIN, END, Size, count_flop, format_table, time_face
from tools.bench.written_page import split_page, write_between
from tsal_dist.errors import ConfigError

ROOT = Path(__file__).parents[3]


def test_operations_by_hand():
    """Every output cell of a 3x3 convolution from 3 to 5 channels takes 27 multiply-adds per channel."""
    net = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1, bias=False), nn.ReLU())
    assert count_flop(net, 16) == 2 * 27 * 5 * 8 * 8


def test_time_is_this_threads_own():
    class Sleepy(nn.Module):
        def forward(self, face):
            torch.mm(torch.ones(300, 300), torch.ones(300, 300))
            return face

    assert 1e-6 < time_face(Sleepy(), 16, rounds=3) < 1.0


def test_the_table_is_written_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_between(page, BEGIN, END, "\n".join(format_table([Size("lite", 436_243, 10**8, 0.0123)], 128, 68)))
    text = page.read_text()
    assert "| `lite` | 0.44 | 0.10 | 12.3 |" in text
    assert "old" not in text
    assert split_page(page, BEGIN, END) == ("before\n", "\nafter\n")
    page.write_text("nothing")
    with pytest.raises(ConfigError, match="has no place for the table"):
        split_page(page, BEGIN, END)


def test_the_published_page_has_the_table():
    before, after = split_page(ROOT / "docs/benchmarks.md", BEGIN, END)
    assert "## Size" in before
    assert "## Accuracy" in after


@pytest.mark.slow
def test_the_tool_says_parameters_and_operations():
    words = [sys.executable, "-m", "tools.bench.size", "--detectors", "lite", "--crop", "64", "--rounds", "2"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    (found,) = json.loads(done.stdout.splitlines()[-1])["results"]
    assert found["parameters"] == 436_243
    assert found["flop"] > 2 * found["parameters"]
    assert found["seconds"] > 0
