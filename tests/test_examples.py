"""The example on the digits of MNIST runs, and finds what it promises; so does the code of the README."""

import gzip
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
README = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("code", README, ids=range(len(README)))
def test_code_of_the_readme_runs(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == code.count("print(")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What ``python examples/mnist_7_vs_1.py`` prints, and where its figure should be."""
    figure = tmp_path_factory.mktemp("example") / "new" / "figure.png"
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "mnist_7_vs_1.py", "--figure", figure],
        capture_output=True,
        env=os.environ | {"MPLBACKEND": "Agg"},
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, figure


@pytest.fixture(scope="module")
def example():
    """The example as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield importlib.import_module("mnist_7_vs_1")


def test_derivatives_have_the_right_orders(run):
    orders = re.search(r"^order(.*)$", run[0], re.MULTILINE)[1].split()
    np.testing.assert_allclose([float(order) for order in orders], [1, 2, 3, 2, 2], atol=0.03)


def test_error_on_the_test_set_is_small(run):
    assert float(re.search(r"choose C = \S+: test error (\S+)%", run[0])[1]) <= 0.6


def test_full_hessian_converges_and_leading_term_lags(run):
    full, leading = re.split("Hessian: ", run[0])[1:]
    gaps = [float(re.findall(r"^ +\d+ .* (\S+)$", part, re.MULTILINE)[-1]) for part in (full, leading)]
    assert gaps[0] <= 1e-8 < gaps[1]


def test_figure_is_written(run):
    pytest.importorskip("matplotlib")
    assert run[1].read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_a_message(example, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    example.draw(tmp_path / "figure.png", {}, None, None)
    assert "secondorder[plot]" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_bundled_digits_are_those_of_mnist(example):
    digits = example.load_sevens_and_ones()
    assert digits.X.shape == (13007, 784)
    assert digits.X_test.shape == (2163, 784)
    assert np.unique(digits.y, return_counts=True)[1].tolist() == [6742, 6265]
    assert np.unique(digits.y_test, return_counts=True)[1].tolist() == [1135, 1028]
    assert digits.X.min() == 0
    assert digits.X.max() == 1


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
def test_idx_files_are_read(example, tmp_path, packed):
    from data import make_mnist_7_1

    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    labels = np.array([7, 1, 4], np.uint8)
    for key, name in make_mnist_7_1.IDX_FILES.items():
        array = images if key.endswith("images") else labels
        raw = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
        path = tmp_path / (name + ".gz" * packed)
        path.write_bytes(gzip.compress(raw) if packed else raw)
    mnist = example.read_mnist(tmp_path)
    np.testing.assert_array_equal(mnist["train_images"], images)
    np.testing.assert_array_equal(mnist["test_labels"], labels)


def test_failed_download_says_what_to_do(example, monkeypatch):
    def fail(*args, **options):
        raise OSError("no network")

    monkeypatch.setattr(example, "fetch_openml", fail)
    with pytest.raises(SystemExit, match=r"no network[\s\S]*--data FOLDER"):
        example.download()


def test_download_is_split_into_training_and_test(example, monkeypatch):
    labels = np.repeat(np.array(["5", "7"], dtype=object), [60000, 10000])
    monkeypatch.setattr(
        example, "fetch_openml", lambda *args, **options: (np.full((70000, 1), 255.0), labels)
    )
    digits = example.download()
    assert digits.X.shape == (60000, 1)
    assert digits.X.max() == 1
    assert set(digits.y) == {5}
    assert set(digits.y_test) == {7}
