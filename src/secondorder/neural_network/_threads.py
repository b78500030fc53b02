"""How many threads BLAS gets."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

# Multiplications of a forward pass below which threads gain nothing, and on a busy machine wait.
WORTH_THREADS = 2**22


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looking for the libraries takes some ten milliseconds


def threads_for(n_rows: int, n_parameters: int) -> AbstractContextManager[Any]:
    """A context with one thread for BLAS where the network and its data are small."""
    if n_rows * n_parameters >= WORTH_THREADS:
        return nullcontext()
    return _controller().limit(limits=1, user_api="blas")
