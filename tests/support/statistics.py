"""Comparison of sample means with exact values."""

from __future__ import annotations

import math

import numpy as np


def within(samples, exact, standard_errors=4.0):
    """Assert that the mean of independent samples is within `standard_errors` standard errors of the exact value."""
    samples = np.asarray(samples)
    error = samples.std(ddof=1) / math.sqrt(samples.size)
    assert abs(samples.mean() - exact) < standard_errors * error, f"{samples.mean()} +- {error}, exact {exact}"
