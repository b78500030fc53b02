"""The product with blocks of the Hessian of a loss."""

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
def _scale_rows(d, i, T, bias, sums):
    """`curve_rows` for zero `u`, output by output."""
    for k in range(T.shape[1]):
        b, total = bias[k], T.dtype.type(0)
        for r in range(T.shape[0]):
            t = d[i + r, k] * (T[r, k] + b)
            T[r, k] = t
            total += t
        sums[k] += total


@kernel
def curve_rows(d, u, shift_invariant, i, T, bias, sums):
    """``H_{i + r} (t_r + bias)`` in place of every row r of `T`, and their sum added to `sums`."""
    n_outputs, zero = T.shape[1], T.dtype.type(0)
    if u.size == 0:
        _scale_rows(d, i, T, bias, sums)
        return
    for r in range(T.shape[0]):
        largest, origin, along = -T.dtype.type(1), zero, zero
        for k in range(n_outputs if shift_invariant else 0):
            larger = d[i + r, k] > largest
            largest = d[i + r, k] if larger else largest
            origin = T[r, k] + bias[k] if larger else origin
        for k in range(n_outputs):
            along += u[i + r, k] * (T[r, k] + bias[k] - origin)
        for k in range(n_outputs):
            T[r, k] = d[i + r, k] * (T[r, k] + bias[k] - origin) - u[i + r, k] * along
    for k in range(n_outputs):
        total = zero
        for r in range(T.shape[0]):
            total += T[r, k]
        sums[k] += total
