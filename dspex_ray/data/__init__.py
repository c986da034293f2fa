"""Labelled data: files, lists and frames as examples of a program, split without leaks."""

from __future__ import annotations

from dspex_ray.data.dataset import Dataset
from dspex_ray.data.loading import load_data
from dspex_ray.data.overlap import Duplicates, Leakage, duplicates, leakage

__all__ = ["Dataset", "Duplicates", "Leakage", "duplicates", "leakage", "load_data"]
