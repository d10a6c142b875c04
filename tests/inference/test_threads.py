"""Threads: more than one only where they are sooner done."""

import time

import pytest
import torch

from tsal_dist.inference import threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def choose_threads(work, asked=0):
    return threads.choose_threads(work, torch.set_num_threads, torch.get_num_threads(), asked)


@pytest.mark.parametrize(("alone_ms", "together_ms", "number"), [(2, 30, 1), (30, 2, 2), (10, 10, 1)])
def test_the_faster_number_is_taken(two_threads, alone_ms, together_ms, number):
    def work():
        time.sleep((alone_ms if torch.get_num_threads() == 1 else together_ms) / 1000)

    assert choose_threads(work) == torch.get_num_threads() == number


def test_a_number_that_was_asked_for_is_taken(two_threads):
    assert choose_threads(lambda: None, asked=2) == torch.get_num_threads() == 2
