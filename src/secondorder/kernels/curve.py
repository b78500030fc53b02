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
    """``H_{i + r} (t_r + bias)`` in place of every row r of `T`, and their sum added to `sums`.

    Where equal changes of all outputs change nothing, what counts is differences from their weighted
    mean. That is next to the output of a class that is nearly certain, and needs no search for it.
    """
    n_outputs, zero = T.shape[1], T.dtype.type(0)
    if u.size == 0:
        _scale_rows(d, i, T, bias, sums)
        return
    for r in range(T.shape[0]):
        t, weights, roots = T[r], d[i + r], u[i + r]
        origin = along = total = zero
        for k in range(n_outputs):
            t[k] += bias[k]
            origin += roots[k] * t[k]
            total += roots[k]
        origin = origin / total if shift_invariant and total > 0 else zero
        for k in range(n_outputs):
            t[k] -= origin
            along += roots[k] * t[k]
        for k in range(n_outputs):
            t[k] = weights[k] * t[k] - roots[k] * along
            sums[k] += t[k]
