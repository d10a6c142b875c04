"""How much memory a process holds; apart from the meters, since only this asks torch."""

import resource
from pathlib import Path

import torch


def read_memory() -> dict[str, float]:
    """Memory of this process in GB: resident now, where the system tells, and the peak on its GPU."""
    numbers = {}
    statm = Path("/proc/self/statm")
    if statm.exists():
        numbers["memory/rss_gb"] = int(statm.read_text().split()[1]) * resource.getpagesize() / 1e9
    if torch.cuda.is_available():
        numbers["memory/gpu_peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return numbers
