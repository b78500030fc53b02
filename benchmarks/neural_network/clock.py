"""A clock that rivals are watched by."""

import time

import numpy as np


class Done(Exception):
    """The target is met, or the time is up."""


class Clock:
    """The values seen within a budget of seconds: the least, and when the target was met.

    Parameters
    ----------
    budget : float
    target : float, default=-inf
    """

    def __init__(self, budget: float, target: float = -np.inf) -> None:
        self.start, self.budget, self.target = time.perf_counter(), budget, target
        self.best, self.met = np.inf, np.inf

    def see(self, value: float) -> None:
        """Note a value; raise `Done` where there is nothing left to do."""
        passed = time.perf_counter() - self.start
        if passed <= self.budget:
            self.best = min(self.best, value)
            if value <= self.target:
                self.met = passed
        if np.isfinite(self.met) or passed > self.budget:
            raise Done

    def pause(self, measure) -> None:
        """Note the value of `measure()`, whose time does not count."""
        before = time.perf_counter()
        value = measure()
        self.start += time.perf_counter() - before
        self.see(value)
