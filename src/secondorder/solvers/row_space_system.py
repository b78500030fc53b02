"""Newton's system of a linear model with many more features than rows, in the row space of X."""

import numpy as np

from secondorder.array_api import dot
from secondorder.curvature import GaussNewton
from secondorder.losses.output_hessian import Array


class RowSpaceSystem:
    """``B x = b`` for ``B = Z' H Z + penalty I``, in coordinates that make no vector of all features.

    For `b` and all that products with B make of it, the weights of the features are

        v_W = a b_W + (X - 1 m')' R      with a number a, and R of shape (n, K).

    Such a vector is held as ``(S, R, v_b, a)`` in one flat array, with its outputs ``S = Z v`` and its
    intercepts `v_b`. With ``U = H S`` and one penalty on all features, none on the intercepts,

        B v   is  (Z B v, penalty R + U, 1'U, penalty a)
        Z v   =   (X - 1 m') (X - 1 m')' R + a (X - 1 m') b_W + 1 v_b
        u'v   =   a_u (a_v b_W'b_W + R_v . (X - 1 m') b_W) + R_u . (S_v - 1 v_b) + u_b'v_b

    so a product reads X once and is made feature by feature; conjugate gradients take the same steps
    as with B itself.

    Parameters
    ----------
    curvature : GaussNewton
        At a point of a penalised linear model.
    b : array of shape (P,)
        One pass over X.
    """

    def __init__(self, curvature: GaussNewton, b: Array) -> None:
        point = curvature.point
        self._H, self._design = curvature.H, point.forward.X
        self._penalty = float(point.objective.penalty[0])
        (n, p), K = self._design.X.shape, point.forward.outputs.shape[1]
        self._length, self._K, self._B = n * K, K, b.reshape(-1, K)
        features, intercept = self._B[:p].ravel(), self._B[p:]
        S = self._design.matmul(self._B)
        self._outputs_of_features = S - intercept.sum(axis=0)
        self._square_of_features = dot(features, features)
        self.b = np.concatenate([S.ravel(), np.zeros(n * K), intercept.ravel(), [1.0]])

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        S, R, _ = self._split(v)
        Bv = np.empty_like(v)
        outputs, rows, intercept = self._split(Bv)
        U = self._H @ S
        np.multiply(R, self._penalty, out=rows)
        rows += U
        intercept[:] = U.sum(axis=0)
        Bv[-1] = self._penalty * v[-1]
        np.multiply(self._outputs_of_features, Bv[-1], out=outputs)
        outputs += self._design.row_gram_product(rows)
        outputs += intercept.sum(axis=0)
        return Bv

    def inner(self, u: np.ndarray, v: np.ndarray) -> float:
        """``u'v`` of the vectors themselves."""
        _, R_u, b_u = self._split(u)
        S_v, R_v, b_v = self._split(v)
        of_b = v[-1] * self._square_of_features + dot(R_v.ravel(), self._outputs_of_features.ravel())
        of_rows = dot(R_u.ravel(), S_v.ravel()) - R_u.sum(axis=0) @ b_v.sum(axis=0)
        return float(u[-1] * of_b + of_rows + np.sum(b_u * b_v))

    def outputs(self, v: np.ndarray) -> np.ndarray:
        """``Z v``, shape (n, K)."""
        return self._split(v)[0]

    def lift(self, v: np.ndarray) -> np.ndarray:
        """The vector itself, shape (P,); one pass over X."""
        _, R, intercept = self._split(v)
        V = self._design.rmatmul(R)
        V += v[-1] * self._B
        V[self._design.X.shape[1] :] = intercept
        return V.ravel()

    def _split(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Views of the outputs, the coordinates R and the intercepts, of which there may be no row."""
        S, R, intercept = np.split(v[:-1], [self._length, 2 * self._length])
        return S.reshape(-1, self._K), R.reshape(-1, self._K), intercept.reshape(-1, self._K)
