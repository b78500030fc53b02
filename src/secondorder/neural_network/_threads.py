"""How many threads BLAS gets."""

from contextlib import AbstractContextManager, nullcontext

from secondorder.kernels.threads import one_blas_thread

# Multiplications of a forward pass below which threads gain nothing, and on a busy machine wait.
WORTH_THREADS = 2**22


def threads_for(n_rows: int, n_parameters: int) -> AbstractContextManager[None]:
    """A context with one thread for BLAS where the network and its data are small."""
    return nullcontext() if n_rows * n_parameters >= WORTH_THREADS else one_blas_thread()
