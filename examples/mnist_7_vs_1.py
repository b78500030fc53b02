"""Newton's method for classification: the digits 7 and 1 of MNIST.

    python examples/mnist_7_vs_1.py                        7 and 1, from the file in examples/data
    python examples/mnist_7_vs_1.py --full                 all ten digits, downloaded from openml.org
    python examples/mnist_7_vs_1.py --full --data FOLDER   all ten digits, from the four IDX files

An image of 28 x 28 pixels is a row of X (n, p), its class a row of indicators in Y (n, K). (Where the data
are called Y and the indicators C, read X and Y.) The model is linear, its loss the cross-entropy. With
``*``, ``/``, exp and log taken entry by entry, and a vector e of ones:

    S = X W                                      scores of the K classes
    P = exp(S) / (exp(S) e e')                   their probabilities: the softmax of every row
    E(W) = -e'(Y * S) e + e' log(exp(S) e) + penalty/2 |W|^2

    grad E = X'(P - Y) + penalty W

The Hessian A is a function V -> A V, not a matrix. The product rule on P gives it two terms:

    A V = X' (d2E/dS2) X V + penalty V,          (d2E/dS2) U = P * U  -  P * ((P * U) e e')
                                                               leading     second

Newton's method solves ``A D = -grad E`` by conjugate gradients (CG), not accurately, and goes from W to
``W + t D``, the minimum along that line. The leading term alone will do for CG, and is an upper bound of
A; but it overrates the curvature of every row whose class is nearly certain (P near 1), so the steps are no
longer Newton's. The first panel of the figure shows what that costs.

The intercept b is a last row of W, for a last column of ones in X, and has no penalty. For two classes,
``w = W_2 - W_1`` is all that matters: P is the logistic function of X w, and the best W of them all,
``(-w/2, w/2)``, has ``|W|^2 = |w|^2 / 2``.
"""

import argparse
from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from data.make_mnist_7_1 import read_mnist
from sklearn.datasets import fetch_openml
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from secondorder.curvature import Hessian
from secondorder.linear_model import LogisticRegression
from secondorder.losses import Softmax
from secondorder.models import Linear, design_matrix
from secondorder.objective import Objective
from secondorder.solvers import Iteration, Result, fit_linear

HERE = Path(__file__).parent
STEPS = 2.0 ** -np.arange(3, 11)  # h in the check of the derivatives, halved each time
GRID = 10.0 ** np.arange(-3, 2)  # values of C
NEWTON_STEPS = 20  # enough with the full Hessian; a hundred are far too few with its leading term
SHOWN = 20  # misclassified digits in the figure


class Digits(NamedTuple):
    """Images as rows of X, pixels from 0 to 1, and labels y."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


class Fit(NamedTuple):
    """The estimator fitted to all training rows, its test error, and the loss of its C on held-out rows."""

    model: LogisticRegression
    test_error: float
    held_out_loss: float


# ---------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------


def as_digits(mnist: Mapping[str, np.ndarray]) -> Digits:
    """The images as rows of numbers from 0 to 1."""

    def rows(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1) / 255

    return Digits(
        rows(mnist["train_images"]),
        mnist["train_labels"],
        rows(mnist["test_images"]),
        mnist["test_labels"],
    )


def load_sevens_and_ones() -> Digits:
    """The digits 7 and 1, from the file in this repository."""
    with np.load(HERE / "data" / "mnist_7_1.npz") as mnist:
        return as_digits(mnist)


def download() -> Digits:
    """All ten digits, from openml.org; scikit-learn keeps a copy for the next time."""
    try:
        images, labels = fetch_openml("mnist_784", version=1, as_frame=False, return_X_y=True)
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(
            f"MNIST could not be downloaded from openml.org: {error}\n"
            "With its four IDX files in a folder, run: python examples/mnist_7_vs_1.py --full --data FOLDER"
        ) from error
    X, y = images / 255, labels.astype(np.uint8)
    return Digits(X[:60000], y[:60000], X[60000:], y[60000:])


# ---------------------------------------------------------------------------------------------------
# The objective, and a check of its derivatives
# ---------------------------------------------------------------------------------------------------


def softmax_regression(X: np.ndarray, y: np.ndarray) -> Objective:
    """E as a function of w, which is W row by row, for penalty 1."""
    classes, codes = np.unique(y, return_inverse=True)
    model, design = Linear(len(classes)), design_matrix(X, n_outputs=len(classes))
    n_parameters = design.shape[1] * len(classes)
    return Objective(model, Softmax(), design, codes, s=np.ones(len(y)), penalty=np.ones(n_parameters))


def derivative_errors(E: Objective, w: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Errors of Taylor's expansion along v, and of central differences, a row for each h of `STEPS`.

    The columns are what E(w + h v) leaves beyond E, beyond ``E + h g'v`` and beyond
    ``E + h g'v + h^2/2 v'A v``, then the central differences of E less ``g'v``, and of g less ``A v``.
    """
    point = E.at(w)
    slope, Av = point.gradient @ v, Hessian(point) @ v
    errors = []
    for h in STEPS:
        ahead, behind = E.at(w + h * v), E.at(w - h * v)
        change = ahead.value - point.value
        errors.append(
            (
                abs(change),
                abs(change - h * slope),
                abs(change - h * slope - h**2 / 2 * (v @ Av)),
                abs((ahead.value - behind.value) / (2 * h) - slope),
                np.linalg.norm((ahead.gradient - behind.gradient) / (2 * h) - Av),
            )
        )
    return np.array(errors)


def observed_orders(errors: np.ndarray) -> np.ndarray:
    """The q of ``error ~ h^q``, from the last two steps."""
    return np.log2(errors[-2] / errors[-1])


def check_derivatives(digits: Digits) -> None:
    """Print the errors at a random w along a random v, and how fast they fall."""
    E = softmax_regression(digits.X, digits.y)
    w, v = 0.1 * np.random.default_rng(0).standard_normal((2, len(E.penalty)))
    errors = derivative_errors(E, w, v)
    print("\nCheck of the derivatives at a random w")
    print(f"{'':8}{'what Taylor leaves of E(w + h v)':^36}{'central differences':^24}")
    print(f"{'h':8}{'E':>12}{'E, g':>12}{'E, g, A':>12}{'g':>12}{'A v':>12}")
    for h, row in zip(STEPS, errors, strict=True):
        print(f"{f'1/{1 / h:g}':8}" + "".join(f"{error:12.2e}" for error in row))
    print(f"{'order':8}" + "".join(f"{order:12.3f}" for order in observed_orders(errors)))
    print(f"{'expected':8}" + "".join(f"{order:12d}" for order in (1, 2, 3, 2, 2)))


# ---------------------------------------------------------------------------------------------------
# Fits
# ---------------------------------------------------------------------------------------------------


def timed_fit(X: np.ndarray, y: np.ndarray, C: float) -> tuple[LogisticRegression, float]:
    """The estimator fitted, and the seconds this took."""
    start = perf_counter()
    model = LogisticRegression(C=C, solver="newton-cg").fit(X, y)
    return model, perf_counter() - start


def warm_up(digits: Digits) -> None:
    """Print what the first fit costs, with the compilation of its loops, and what the second."""
    first, second = (timed_fit(digits.X, digits.y, C=1.0)[1] for _ in range(2))
    print(f"\nFit with C = 1: {second:.2f} s (the first time {first:.2f} s, its loops compiled or loaded)")


def try_grid(digits: Digits) -> list[Fit]:
    """Print and return the fits over the grid of C."""
    X, X_held_out, y, y_held_out = train_test_split(
        digits.X, digits.y, test_size=0.2, stratify=digits.y, random_state=0
    )
    print("\nChoice of C: loss on a fifth of the training rows, held out; then a fit to all of them")
    print(f"{'C':>8}{'held-out loss':>16}{'train error':>14}{'test error':>13}{'steps':>8}{'seconds':>10}")
    fits = []
    for C in GRID:
        held_out_loss = log_loss(y_held_out, timed_fit(X, y, C)[0].predict_proba(X_held_out))
        model, seconds = timed_fit(digits.X, digits.y, C)
        train_error = 1 - model.score(digits.X, digits.y)
        test_error = 1 - model.score(digits.X_test, digits.y_test)
        print(
            f"{C:8g}{held_out_loss:16.4f}{train_error:14.2%}{test_error:13.2%}"
            f"{model.result_.n_iter:8d}{seconds:10.2f}"
        )
        fits.append(Fit(model, test_error, held_out_loss))
    return fits


def newton_cg(digits: Digits, C: float, hessian: str) -> Result:
    """Softmax regression with both terms of the Hessian or one; prints every iteration."""
    classes, codes = np.unique(digits.y, return_inverse=True)
    K = len(classes)
    print(f"\nNewton-CG, C = {C:g}, Hessian: {hessian}")
    print(f"{'':4}{'E':>16}{'|gradient|':>14}{'CG steps':>11}{'step t':>9}{'relative gap':>15}")
    return fit_linear(
        digits.X,
        codes,
        np.ones(len(codes)),
        loss=Softmax(),
        hessian=hessian,
        n_outputs=K,
        penalty=(2 if K == 2 else 1) / C,  # 2 for |W|^2 = |w|^2 / 2: the minimum is the estimator's
        solver="newton-cg",
        max_iter=NEWTON_STEPS,
        callback=print_iteration,
    )


def print_iteration(row: Iteration) -> None:
    """Print a step of Newton's method, where it led, and a bound of ``(E - min E) / E`` there."""
    print(
        f"{row.iteration:4d}{row.value:16.6f}{row.gradient_norm:14.3e}{row.n_products:11d}"
        f"{row.step_length:9.3g}{row.gap / row.value:15.1e}"
    )


# ---------------------------------------------------------------------------------------------------
# Figure
# ---------------------------------------------------------------------------------------------------


def draw(path: Path, runs: Mapping[str, Result], model: LogisticRegression, digits: Digits) -> None:
    """Write the figure: convergence, weights, misclassified digits."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("\nNo figure, as matplotlib is missing: pip install 'secondorder[plot]'")
        return
    figure = Figure(figsize=(16, 5.4), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1.15, 1, 1), wspace=0.05)
    draw_convergence(left, runs)
    draw_weights(middle, model)
    draw_mistakes(right, model, digits)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    print(f"\nFigure: {path}")


def draw_convergence(figure: Any, runs: Mapping[str, Result]) -> None:
    """The norm of the gradient against passes over X, a marker for each Newton step."""
    axes = figure.subplots()
    for (label, run), colour in zip(runs.items(), ("#2166ac", "#d6604d"), strict=True):
        passes, norms = zip(*((row.passes, row.gradient_norm) for row in run.history), strict=True)
        axes.semilogy(passes, norms, "o-", markersize=4, linewidth=1.8, color=colour, label=label)
    axes.set(xlabel="passes over the data", ylabel="norm of the gradient")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=12)
    figure.suptitle("Newton-CG, a marker for each step", fontsize=14)


def draw_weights(figure: Any, model: LogisticRegression) -> None:
    """The weights as images: one for two classes, else one for each class."""
    images = model.coef_.reshape(-1, 28, 28)
    low, high = model.classes_[[0, -1]]
    titles, meaning = [""], f"←  ink speaks for {low}  |  ink speaks for {high}  →"
    if len(images) > 1:
        titles, meaning = model.classes_, "←  ink speaks against  |  ink speaks for  →"
    strong = np.quantile(np.abs(images), 0.995)  # a few extreme pixels would pale all the others
    axes = draw_images(figure, images, titles, cmap="RdBu_r", vmin=-strong, vmax=strong)
    figure.colorbar(axes[0].images[0], ax=axes, shrink=0.9, extend="both", label=meaning)
    figure.suptitle("Weights of the pixels", fontsize=14)


def draw_mistakes(figure: Any, model: LogisticRegression, digits: Digits) -> None:
    """The misclassified test digits, the surest mistakes first."""
    predicted = model.predict(digits.X_test)
    sureness = model.predict_proba(digits.X_test).max(axis=1)
    wrong = np.flatnonzero(predicted != digits.y_test)
    shown = wrong[np.argsort(-sureness[wrong])][:SHOWN]
    titles = [f"{digits.y_test[i]} → {predicted[i]}" for i in shown]
    draw_images(figure, digits.X_test[shown].reshape(-1, 28, 28), titles, cmap="gray_r")
    figure.suptitle(f"{len(wrong)} of {len(predicted)} test digits misclassified", fontsize=14)
    figure.supxlabel("true → predicted, the surest mistakes first", fontsize=10)


def draw_images(figure: Any, images: np.ndarray, titles: Sequence[Any], **colours: Any) -> np.ndarray:
    """A grid of images under their titles; returns its axes."""
    columns = ceil(sqrt(len(images)))
    axes = figure.subplots(ceil(len(images) / columns), columns, squeeze=False).ravel()
    for ax in axes[len(images) :]:
        ax.set_axis_off()
    for ax, image, title in zip(axes, images, titles, strict=False):
        ax.imshow(image, **colours)
        ax.set(xticks=[], yticks=[], title=title)
        ax.spines[:].set_color("lightgray")
    return axes


# ---------------------------------------------------------------------------------------------------
# The whole story
# ---------------------------------------------------------------------------------------------------


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all ten digits")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="with --full: the four IDX files")
    parser.add_argument("--figure", type=Path, metavar="PATH", help="default: in examples/output")
    arguments = parser.parse_args()
    if arguments.data and not arguments.full:
        parser.error("--data goes with --full")
    return arguments


def main() -> None:
    """Check the derivatives, choose C, watch Newton's method and draw what it found."""
    arguments = parse_arguments()
    if not arguments.full:
        digits = load_sevens_and_ones()
    else:
        digits = as_digits(read_mnist(arguments.data)) if arguments.data else download()
    classes = ", ".join(map(str, np.unique(digits.y)))
    print(f"{len(digits.y)} training and {len(digits.y_test)} test images of the digits {classes}")

    warm_up(digits)
    check_derivatives(digits)

    fits = try_grid(digits)
    chosen = min(fits, key=lambda fit: fit.held_out_loss)
    best = min(fits, key=lambda fit: fit.test_error)
    print(f"The held-out rows choose C = {chosen.model.C:g}: test error {chosen.test_error:.2%}")
    print(f"Smallest test error over the grid: {best.test_error:.2%}, at C = {best.model.C:g}")

    runs = {
        "full Hessian": newton_cg(digits, chosen.model.C, "full"),
        "leading term only": newton_cg(digits, chosen.model.C, "leading"),
    }
    name = "mnist_all.png" if arguments.full else "mnist_7_vs_1.png"
    draw(arguments.figure or HERE / "output" / name, runs, chosen.model, digits)


if __name__ == "__main__":
    main()
