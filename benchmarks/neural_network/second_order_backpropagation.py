"""How far the diagonal of second-order backpropagation is from that of the Hessian, by depth.

    python benchmarks/neural_network/second_order_backpropagation.py

Networks with layers of eight tanh units, softmax over four classes, 50 rows, Glorot's weights: the relative
error in the Euclidean norm and the correlation with the exact diagonal, medians of 20 networks.
"""

import numpy as np

from secondorder.curvature import BackpropagatedDiagonal, GaussNewton, Hessian
from secondorder.losses import Softmax
from secondorder.models import ACTIVATIONS, INITIAL_WEIGHTS, MLP, Design
from secondorder.objective import Objective


def main() -> None:
    """Print a line for each depth."""
    print("hidden layers   relative error   correlation   relative error of the Gauss-Newton diagonal")
    for depth in range(5):
        figures = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            model = MLP((5, *[8] * depth, 4), ACTIVATIONS["tanh"])
            X, y = rng.standard_normal((50, 5)), rng.integers(0, 4, 50)
            o = Objective(model, Softmax(), Design(X), y, np.full(50, 1 / 50), model.penalty(0))
            point = o.at(model.initial(INITIAL_WEIGHTS["glorot_uniform"], rng))
            exact, got = Hessian(point).diagonal(), BackpropagatedDiagonal(point).diagonal()
            size = np.linalg.norm(exact)
            gauss_newton = GaussNewton(point).diagonal()
            figures.append(
                [
                    np.linalg.norm(got - exact) / size,
                    np.corrcoef(got, exact)[0, 1],
                    np.linalg.norm(gauss_newton - exact) / size,
                ]
            )
        error, correlation, other = np.median(figures, axis=0)
        print(f"{depth:13d} {error:16.1e} {correlation:13.3f} {other:20.1e}")


if __name__ == "__main__":
    main()
