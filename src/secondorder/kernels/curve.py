"""The product with one block of the Hessian of a loss."""

from secondorder.kernels.compile import kernel


@kernel
def curve(d, u, shift_invariant, i, T, r):
    """``H_i t`` in place of row r of `T`, as in ``OutputHessian.__matmul__``; an empty `u` is zero."""
    n_outputs = T.shape[1]
    if u.size == 0:
        for k in range(n_outputs):
            T[r, k] *= d[i, k]
        return
    origin = T.dtype.type(0)
    if shift_invariant:
        largest = d[i, 0]
        origin = T[r, 0]
        for k in range(1, n_outputs):
            if d[i, k] > largest:
                largest, origin = d[i, k], T[r, k]
    along = T.dtype.type(0)
    for k in range(n_outputs):
        T[r, k] -= origin
        along += u[i, k] * T[r, k]
    for k in range(n_outputs):
        T[r, k] = d[i, k] * T[r, k] - u[i, k] * along


@kernel
def curve_rows(d, u, shift_invariant, i, T, bias, sums):
    """``H_{i + r} (t_r + bias)`` in place of every row r of `T`, and their sum added to `sums`."""
    for r in range(T.shape[0]):
        for k in range(T.shape[1]):
            T[r, k] += bias[k]
        curve(d, u, shift_invariant, i + r, T, r)
        for k in range(T.shape[1]):
            sums[k] += T[r, k]
