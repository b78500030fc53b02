"""The Hessian of a chain of three linear units, every quantity in the order of a derivation by hand.

    python examples/hessian_by_hand_linear_chain.py

One input x = 2, one target y = 200, weights w = (3, 5, 7), no biases, and every activation is the identity:

    a_k = h_(k-1) w_k,    h_k = a_k,    h_0 = x,    L = (y - h_3)^2

Backpropagation carries first and second derivatives from the loss down. With the activation f,

    dL/da_k    = f'(a_k) dL/dh_k
    d2L/da_k^2 = f'(a_k)^2 d2L/dh_k^2 + f''(a_k) dL/dh_k
    dL/dw_k    = h_(k-1) dL/da_k,             d2L/dw_k^2     = h_(k-1)^2 d2L/da_k^2
    dL/dh_(k-1) = w_k dL/da_k,                d2L/dh_(k-1)^2 = w_k^2 d2L/da_k^2

and off the diagonal, for j < k, with the "bridge" terms dh_(k-1)/dw_j and da_k/dw_j between layers,

    d2L/dw_k dw_j = dh_(k-1)/dw_j dL/da_k  +  h_(k-1) da_k/dw_j d2L/da_k^2

In a chain this is exact; in a wider network the diagonal part is the approximation of Becker and LeCun. The
numbers below come from the engine, and each line shows what the notes that this follows print for it.
"""

from typing import NamedTuple

import numpy as np

from secondorder.curvature import Hessian
from secondorder.losses import Squared
from secondorder.models import ACTIVATIONS, MLP, Design
from secondorder.objective import Objective

X, Y, W = 2.0, 200.0, np.array([3.0, 5.0, 7.0])


class Quantity(NamedTuple):
    """A quantity, its value, the value in the notes, and what is wrong there if anything is."""

    name: str
    value: float
    printed: float
    remark: str = ""


def chain() -> Objective:
    """``L(w)``; its weight of 2 makes ``(y - h)^2`` of the engine's ``1/2 (y - h)^2``."""
    model = MLP((1, 1, 1, 1), ACTIVATIONS["identity"], intercept=False)
    return Objective(
        model, Squared(), Design(np.array([[X]]), False), np.array([Y]), np.full(1, 2.0), np.zeros(3)
    )


def forward_quantities(objective: Objective) -> list[Quantity]:
    """a, h and L, from the input to the loss."""
    point = objective.at(W)
    found, printed = [], [(6, 3), (30, 30), (210, 210)]
    for k, (Z, A) in enumerate(zip(point.forward.Z, point.forward.activations, strict=True)):
        remark = "the notes print 3; h1 = a1 = 6, and 6 is what they go on with" if k == 0 else ""
        found.append(Quantity(f"a{k + 1}", Z.item(), printed[k][0]))
        found.append(Quantity(f"h{k + 1}", A.item(), printed[k][1], remark))
    return [*found, Quantity("L", point.value, 100)]


def backward_quantities(objective: Objective) -> list[Quantity]:
    """First and second derivatives, from the loss to the first layer, in the order of the notes."""
    point = objective.at(W)
    forward, layers = point.forward, point.forward.layer_derivatives(point.H, point.G)
    inputs = [design.X.item() for design in forward.inputs]
    printed = {
        "dL/dL": 1, "d2L/dL2": 1,
        "dL/dh3": 20, "d2L/dh3^2": 2, "dL/da3": 20, "d2L/da3^2": 2, "dL/dw3": 600, "d2L/dw3^2": 1800,
        "dL/dh2": 140, "d2L/dh2^2": 98, "dL/da2": 140, "d2L/da2^2": 98, "dL/dw2": 840, "d2L/dw2^2": 3528,
        "d2L/dw3dw2": 2640,
        "dL/dh1": 700, "d2L/dh1^2": 2450, "dL/da1": 700, "d2L/da1^2": 2450, "dL/dw1": 1400, "d2L/dw1^2": 9800,
        "d2L/dw2dw1": 6160, "d2L/dw3dw1": 4400,
    }  # fmt: skip
    remarks = {
        "d2L/dL2": "the notes print 1 for the seed; it is 0, and is not used",
        "dL/da3": "the notes speak of dL/dh2 in the text; dL/dh3 is meant",
        "d2L/da3^2": "the notes speak of d2L/dh2^2 in the text; d2L/dh3^2 is meant",
        "d2L/dw3^2": "labelled d2L/dw2^2 in the notes, and d2L/da2^2 on its right-hand side: 3 is meant",
        "d2L/dh2^2": "d2L/da2^2 on the right-hand side of the notes: d2L/da3^2 is meant",
        "d2L/dh1^2": "dL/da2^2 on the right-hand side of the notes: d2L/da2^2 is meant",
        "d2L/dw3dw2": "the bridge is said to be from w1 to w2: w2 to w3 is meant; d2L/da_z^2 is d2L/da3^2",
    }
    values = {"dL/dL": 1.0, "d2L/dL2": 0.0}
    for k in (3, 2, 1):
        layer, h = layers[k - 1], inputs[k - 1]
        values |= {
            f"dL/dh{k}": layer.dE_dA.item(),
            f"d2L/dh{k}^2": layer.d2E_dA2.item(),
            f"dL/da{k}": layer.dE_dZ.item(),
            f"d2L/da{k}^2": layer.d2E_dZ2.item(),
            f"dL/dw{k}": h * layer.dE_dZ.item(),
            f"d2L/dw{k}^2": h**2 * layer.d2E_dZ2.item(),
        }
        for upper in range(k + 1, 4):
            first, second = bridge_terms(objective, upper, k)
            values[f"d2L/dw{upper}dw{k}"] = first + second
    return [Quantity(name, values[name], printed[name], remarks.get(name, "")) for name in printed]


def bridge_terms(objective: Objective, k: int, j: int) -> tuple[float, float]:
    """The two terms of ``d2L/dw_k dw_j`` for ``j < k``."""
    point = objective.at(W)
    layer = point.forward.layer_derivatives(point.H, point.G)[k - 1]
    bridge = point.forward.tangents(np.eye(3)[j - 1])
    first = bridge.dA[k - 2].item() * layer.dE_dZ.item()
    return first, point.forward.inputs[k - 1].X.item() * bridge.dZ[k - 1].item() * layer.d2E_dZ2.item()


def differences(objective: Objective, h: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian from values of L alone."""
    E, steps = (lambda w: objective.at(w).value), h * np.eye(3)
    g = np.array([(E(W + d) - E(W - d)) / (2 * h) for d in steps])
    cross = [[E(W + d + e) - E(W + d - e) - E(W - d + e) + E(W - d - e) for e in steps] for d in steps]
    return g, np.array(cross) / (4 * h**2)


def main() -> None:
    """Print all of it."""
    objective = chain()
    print(f"x = {X:g}, y = {Y:g}, w = {W}\n\nForward")
    show(forward_quantities(objective))
    print("\nBackward")
    show(backward_quantities(objective))
    print("\nBridge terms")
    for k, j in ((3, 2), (2, 1), (3, 1)):
        first, second = bridge_terms(objective, k, j)
        print(f"  d2L/dw{k}dw{j} = {first:g} + {second:g} = {first + second:g}")
    A, (g, by_differences) = Hessian(objective.at(W)).dense(), differences(objective)
    print(f"\nHessian\n{A}\n\nby differences of L\n{np.round(by_differences, 2)}")
    print(f"\ngradient {objective.at(W).gradient}, by differences {np.round(g, 4)}")


def show(quantities: list[Quantity]) -> None:
    """Print a line for each, with the remark where the notes err."""
    for q in quantities:
        print(f"  {q.name:11s} {q.value:8g}   notes {q.printed:8g}   {q.remark}".rstrip())


if __name__ == "__main__":
    main()
