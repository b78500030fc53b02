"""Where the weights of a layer start."""

from collections.abc import Callable

import numpy as np

# Each takes the numbers of inputs and outputs of a layer, whether it has biases, and a generator, and
# returns (n_in + intercept, n_out), the biases last.
InitialWeights = Callable[[int, int, bool, np.random.Generator], np.ndarray]


def _without_bias(W: np.ndarray, intercept: bool) -> np.ndarray:
    """`W` with biases of 0."""
    return np.vstack([W, np.zeros((int(intercept), W.shape[1]))])


def glorot_uniform(n_in: int, n_out: int, intercept: bool, rng: np.random.Generator) -> np.ndarray:
    """Uniform with variance ``2 / (n_in + n_out)``, biases too (Glorot & Bengio 2010, eq. 16)."""
    limit = np.sqrt(6 / (n_in + n_out))
    return rng.uniform(-limit, limit, (n_in + intercept, n_out))


def glorot_normal(n_in: int, n_out: int, intercept: bool, rng: np.random.Generator) -> np.ndarray:
    """Normal with variance ``2 / (n_in + n_out)``; biases 0."""
    return _without_bias(np.sqrt(2 / (n_in + n_out)) * rng.standard_normal((n_in, n_out)), intercept)


def he(n_in: int, n_out: int, intercept: bool, rng: np.random.Generator) -> np.ndarray:
    """Normal with variance ``2 / n_in``; biases 0 (He et al. 2015, for relu)."""
    return _without_bias(np.sqrt(2 / n_in) * rng.standard_normal((n_in, n_out)), intercept)


def nguyen_widrow(n_in: int, n_out: int, intercept: bool, rng: np.random.Generator) -> np.ndarray:
    """Units whose active regions share out the cube [-1, 1]^n_in (Nguyen & Widrow 1990).

    Weights of length ``b = 0.7 n_out^(1/n_in)`` in random directions, biases uniform on [-b, b].
    """
    length = 0.7 * n_out ** (1 / n_in)
    W = rng.standard_normal((n_in, n_out))
    W *= length / np.linalg.norm(W, axis=0)
    return np.vstack([W, rng.uniform(-length, length, (int(intercept), n_out))])


def uniform(n_in: int, n_out: int, intercept: bool, rng: np.random.Generator) -> np.ndarray:
    """Uniform on [-0.5, 0.5], biases too."""
    return rng.uniform(-0.5, 0.5, (n_in + intercept, n_out))


def glorot_twelfth(n_in: int, n_out: int, intercept: bool, rng: np.random.Generator) -> np.ndarray:
    """Uniform with limit ``sqrt(0.5 / (n_in + n_out))``, biases too: a twelfth of Glorot's variance.

    It goes by the name of Xavier (Glorot) initialisation in places, for which the limit is
    ``sqrt(6 / (n_in + n_out))``.
    """
    limit = np.sqrt(0.5 / (n_in + n_out))
    return rng.uniform(-limit, limit, (n_in + intercept, n_out))


INITIAL_WEIGHTS: dict[str, InitialWeights] = {
    make.__name__: make
    for make in (glorot_uniform, glorot_normal, he, nguyen_widrow, uniform, glorot_twelfth)
}
