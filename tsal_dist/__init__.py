"""Asynchronous teacher-student training of landmark detectors on video."""

__version__ = "0.1.0"
