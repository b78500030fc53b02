"""The Hessian of a chain of four tanh units, every quantity in the order of a derivation by hand.

    python examples/hessian_by_hand_tanh_chain.py

One input x = 2, one target y = 4, weights w = (0.460, 0.500, -0.139, 0.496), no biases:

    z_k = w_k a_(k-1),    a_k = tanh(z_k),    a_0 = x,    L = 1/2 (a_4 - y)^2

    delta_4 = (a_4 - y) tanh'(z_4),    delta_k = delta_(k+1) w_(k+1) tanh'(z_k),    dL/dw_k = delta_k a_(k-1)

A row of the Hessian comes from differentiating those once more by one weight w_j. Forwards dz/dw_j and
da/dw_j, backwards

    d delta_4/dw_j = (da_4/dw_j tanh'(z_4) + (a_4 - y) tanh''(z_4) dz_4/dw_j)
    d delta_k/dw_j = d(delta_(k+1) w_(k+1))/dw_j tanh'(z_k) + delta_(k+1) w_(k+1) tanh''(z_k) dz_k/dw_j
    d2L/dw_j dw_k  = d delta_k/dw_j a_(k-1) + delta_k da_(k-1)/dw_j

which is Pearlmutter's R-operator along w_j. The numbers come from the engine; beside each stands what the
report that this follows prints, worked with three digits. Where the two differ by more than such rounding
explains, a remark says where the derivation went wrong.
"""

from typing import NamedTuple

import numpy as np

from secondorder.curvature import Hessian
from secondorder.losses import Squared
from secondorder.models import ACTIVATIONS, MLP, Design
from secondorder.objective import Objective

X, Y, W = 2.0, 4.0, np.array([0.460, 0.500, -0.139, 0.496])
ROUNDING = 5e-4, 3e-3  # what three digits in every factor leave uncertain: absolute, and of the value

PRINTED_HESSIAN = np.array(
    [
        [-0.372, 0.172, -0.829, 0.234],
        [0.172, -0.089, -1.272, 2.449],
        [-0.829, -1.272, 0.0007, -1.403],
        [0.234, 2.449, -1.403, 0.0004],
    ]
)
Z3_FOR_W3 = "z3 = -0.048 was put for w3 = -0.139 in dz3/dw2 (and even -0.048 x 0.638 is -0.031, not -0.608)"
CARRIED = "carries the error of dz3/dw2"
Y_HAT = "y-hat was taken not to depend on w4; it does, through z4: dy-hat/dw4 = tanh'(z4) a3"


class Quantity(NamedTuple):
    """A quantity, its value, the value in the report, and what is wrong there if anything is."""

    name: str
    value: float
    printed: float
    remark: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the report is right to its rounding."""
        return abs(self.value - self.printed) <= ROUNDING[0] + ROUNDING[1] * abs(self.value)


def chain() -> Objective:
    """``L(w)``."""
    tanh = ACTIVATIONS["tanh"]
    model = MLP((1, 1, 1, 1, 1), tanh, tanh, intercept=False)
    return Objective(model, Squared(), Design(np.array([[X]]), False), np.array([Y]), np.ones(1), np.zeros(4))


def first_order(objective: Objective) -> list[Quantity]:
    """The table of the forward pass, the deltas and the gradient."""
    point = objective.at(W)
    f = point.forward
    rows = {
        "z": (f.Z, [0.920, 0.363, -0.048, -0.024]),
        "tanh(z)": (f.activations, [0.726, 0.348, -0.048, -0.024]),
        "tanh'(z)": (f.slopes, [0.473, 0.879, 0.998, 0.999]),
        "tanh''(z)": (f.bends, [-0.687, -0.611, 0.096, 0.048]),
        "delta": (f.deltas(point.G), [0.05753091, 0.24329895, -1.9919189, -4.02165237]),
        "dL/dw": (list(point.gradient), [0.11506182, 0.17661406, -0.69265235, 0.19415525]),
    }
    return [
        Quantity(f"{name}{k}", np.asarray(values[k - 1]).item(), printed[k - 1])
        for name, (values, printed) in rows.items()
        for k in (1, 2, 3, 4)
    ]


# What the report prints in its pass for w_j: dz_k/dw_j, da_k/dw_j and d delta_k/dw_j.
PRINTED_PASSES = {
    1: {"z1": 2.000, "a1": 0.946, "z2": 0.473, "a2": 0.416, "z3": -0.058, "a3": -0.058, "z4": -0.029,
        "a4": -0.029, "delta4": -0.023, "delta3": -0.0003, "delta2": -0.080, "delta1": -0.186},
    2: {"z2": 0.726, "a2": 0.638, "z3": -0.608, "a3": -0.606, "z4": -0.301, "a4": -0.300,
        "delta4": -0.242, "delta3": -0.004, "delta2": -0.122},
    3: {"z3": 0.348, "a3": 0.347, "z4": 0.172, "a4": 0.172, "delta4": 0.139, "delta3": 0.002},
    4: {"z4": -0.048, "a4": 0.0, "delta4": 0.009},
}  # fmt: skip
REMARKS = {
    (2, "z3"): Z3_FOR_W3,
    (2, "a3"): CARRIED,
    (2, "z4"): CARRIED,
    (2, "a4"): CARRIED,
    (2, "delta4"): CARRIED,
    (2, "delta3"): CARRIED,
    (4, "a4"): Y_HAT,
    (4, "delta4"): "carries the error of dy-hat/dw4",
}


def second_order(objective: Objective, j: int) -> list[Quantity]:
    """The pass for ``w_j``: what changes with it forwards, backwards, and the entries of the Hessian."""
    point, e = objective.at(W), np.eye(4)[j - 1]
    bridge, A = point.forward.tangents(e), Hessian(point)
    inputs, deltas = [design.X.item() for design in point.forward.inputs], point.forward.deltas(point.G)
    row, values = A @ e, {}
    for k in range(1, 5):
        values[f"z{k}"], values[f"a{k}"] = bridge.dZ[k - 1].item(), bridge.dA[k - 1].item()
        before = bridge.dA[k - 2].item() if k > 1 else 0.0
        # Of d2L/dw_j dw_k = d delta_k/dw_j a_(k-1) + delta_k da_(k-1)/dw_j, the term that is left.
        values[f"delta{k}"] = (row[k - 1] - deltas[k - 1].item() * before) / inputs[k - 1]
    passes = [
        Quantity(f"d{name}/dw{j}", values[name], printed, REMARKS.get((j, name), ""))
        for name, printed in PRINTED_PASSES[j].items()
    ]
    entries = [
        Quantity(f"H{j}{k}", row[k - 1], PRINTED_HESSIAN[j - 1, k - 1], wrong_entry(j, k))
        for k in (4, 3, 2, 1)
    ]
    return passes + entries


def wrong_entry(j: int, k: int) -> str:
    """Why an entry of the printed Hessian is wrong, if it is."""
    return {(2, 4): Z3_FOR_W3, (4, 4): Y_HAT}.get((min(j, k), max(j, k)), "")


def differences(objective: Objective, h: float = 1e-3) -> np.ndarray:
    """The Hessian from values of L alone."""
    E, steps = (lambda w: objective.at(w).value), h * np.eye(4)
    cross = [[E(W + d + e) - E(W + d - e) - E(W - d + e) + E(W - d - e) for e in steps] for d in steps]
    return np.array(cross) / (4 * h**2)


def main() -> None:
    """Print all of it."""
    np.set_printoptions(suppress=True)
    objective = chain()
    print(f"x = {X:g}, y = {Y:g}, w = {W}\n\nFirst order")
    show(first_order(objective))
    for j in (1, 2, 3, 4):
        print(f"\nSecond order, by w{j}")
        show(second_order(objective, j))
    A = Hessian(objective.at(W)).dense()
    print(f"\nHessian\n{np.round(A, 5)}\n\nby differences of L\n{np.round(differences(objective), 5)}")
    print(f"\nthe report's\n{PRINTED_HESSIAN}\n\nentries of it that are wrong")
    entries = {q.name: q for j in (1, 2, 3, 4) for q in second_order(objective, j)}
    for q in (entries["H24"], entries["H44"]):
        print(f"  {q.name}: {q.value:.5f}, not {q.printed:g}: {q.remark}")


def show(quantities: list[Quantity]) -> None:
    """Print a line for each, with the remark where the report errs."""
    for q in quantities:
        print(f"  {q.name:12s} {q.value:10.5f}   report {q.printed:10.5f}   {q.remark}".rstrip())


if __name__ == "__main__":
    main()
