"""Settings and data that all tests share."""

import os

os.environ["SCIPY_ARRAY_API"] = "1"  # before SciPy: scikit-learn checks array API input only then

from hypothesis import HealthCheck, settings  # noqa: E402  (SciPy must not come first)

# The first example of a test may compile the loops, which takes seconds.
settings.register_profile(
    "secondorder", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("secondorder")
