"""What is compiled is compiled once: where the loops are kept, when they are found again, and by whom."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from secondorder.kernels import COMPILING, disk_cache
from secondorder.kernels import compile as compiling
from secondorder.warmup import warmup

compiles = pytest.mark.skipif(not COMPILING, reason="Numba's compiler is switched off")


def double(x):
    return x + x


@pytest.fixture
def loops(monkeypatch, tmp_path):
    """``loops(folder) -> function``, newly made as in a new process, with its own list of loops."""
    monkeypatch.setattr(compiling, "LOOPS", [])
    disk_cache.warn_once.cache_clear()

    def make(folder=tmp_path / "kept"):
        monkeypatch.setattr(compiling, "folder", lambda: folder)
        return compiling.kernel(double)

    return make


@compiles
def test_a_signature_is_compiled_once_and_is_one_file(loops, tmp_path):
    assert loops()(1.5) == 3.0
    assert compiling.counts() == (1, 0)
    assert loops()(1.5) == 3.0
    assert compiling.counts() == (1, 1)
    assert loops()(2) == 4
    assert compiling.counts() == (2, 1)
    writeable, fixed = np.ones(4), np.ones(4)
    fixed.flags.writeable = False
    for x in (writeable, fixed, writeable[::2], writeable.astype(np.float32)):
        loops()(x)
    assert len(list((tmp_path / "kept").iterdir())) == 6


@compiles
@pytest.mark.parametrize("left", [b"", b"half", None])
def test_a_damaged_file_is_compiled_anew(loops, tmp_path, left):
    loops()(1.5)
    (file,) = (tmp_path / "kept").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if left is None else left)
    assert loops()(1.5) == 3.0
    assert compiling.counts() == (2, 0)
    assert file.read_bytes() == whole or loops()(1.5) == 3.0
    assert list((tmp_path / "kept").iterdir()) == [file]


@compiles
def test_without_a_writable_folder_one_warning_and_the_same_result(loops, tmp_path):
    (tmp_path / "file").touch()
    unusable = tmp_path / "file" / "folder"
    with pytest.warns(UserWarning, match="SECONDORDER_CACHE_DIR") as caught:
        assert [loops(unusable)(x) for x in (1.5, 2)] == [3.0, 4]
    assert len(caught) == 1


@compiles
def test_a_folder_that_is_only_read_serves_without_a_warning(loops, monkeypatch):
    loops()(1.5)
    monkeypatch.setattr(disk_cache, "_write", None)  # any attempt to write fails
    assert loops()(1.5) == 3.0
    assert compiling.counts() == (1, 1)


@compiles
def test_switched_off_nothing_is_kept(loops):
    for _ in range(2):
        assert loops(None)(1.5) == 3.0
    assert compiling.counts() == (2, 0)


@pytest.mark.parametrize(
    ("platform", "settings", "expected"),
    [
        ("linux", {}, "~/.cache/secondorder"),
        ("linux", {"XDG_CACHE_HOME": "~/kept"}, "~/.cache/secondorder"),
        ("linux", {"XDG_CACHE_HOME": os.path.abspath("/x")}, "/x/secondorder"),
        ("darwin", {}, "~/Library/Caches/secondorder"),
        ("win32", {}, "~/AppData/Local/secondorder"),
        ("win32", {"LOCALAPPDATA": os.path.abspath("/y")}, "/y/secondorder"),
        ("linux", {"SECONDORDER_CACHE_DIR": "~/z"}, "~/z"),
        ("linux", {"SECONDORDER_CACHE_DIR": "z"}, os.path.abspath("z")),
        ("linux", {"SECONDORDER_CACHE_DIR": "off"}, None),
    ],
)
def test_the_folder_is_the_platform_s_or_the_chosen_one(monkeypatch, platform, settings, expected):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "SECONDORDER_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    found = disk_cache.user_folder()
    assert found == (expected and Path(os.path.abspath(os.path.expanduser(expected))))


def test_without_a_home_nothing_is_kept_and_that_is_said(monkeypatch):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "SECONDORDER_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    disk_cache.warn_once.cache_clear()
    with pytest.warns(UserWarning, match="no home folder"):
        assert disk_cache.user_folder() is None


@pytest.mark.parametrize("change", ["source", "secondorder", "numba", "llvmlite", "python", "checks"])
def test_code_of_other_versions_is_never_looked_at(monkeypatch, tmp_path, change):
    monkeypatch.setenv("SECONDORDER_CACHE_DIR", str(tmp_path))
    source = tmp_path / "helper.py"
    source.write_text("a = 1")
    monkeypatch.setattr(disk_cache, "files", lambda package: tmp_path)
    before = disk_cache.folder.__wrapped__()
    assert before == disk_cache.folder.__wrapped__()
    if change == "source":
        source.write_text("a = 2")
    elif change == "checks":
        monkeypatch.setattr(disk_cache.config, "BOUNDSCHECK", 1)
    elif change == "python":
        monkeypatch.setattr(sys.implementation, "cache_tag", "other")
    else:
        monkeypatch.setattr(getattr(disk_cache, change), "__version__", "other")
    assert disk_cache.folder.__wrapped__() != before


def entries(loops):
    """The loops that no other loop calls."""
    called = {name for loop in loops for name in loop.py_func.__code__.co_names}
    return [loop for loop in loops if loop.py_func.__name__ not in called]


KINDS_OF_FITS = """
import sys, warnings
from itertools import product
from pathlib import Path
import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from secondorder.linear_model import LogisticRegression
from secondorder.linear_model._logistic import ConvergenceWarning
from secondorder.kernels.compile import counts

warnings.simplefilter("ignore", ConvergenceWarning)
rng = np.random.default_rng(0)

def fit(X, n_classes, sample_weight=None, **parameters):
    y = rng.integers(0, n_classes, X.shape[0])
    model = LogisticRegression(max_iter=2, **parameters).fit(X, y, sample_weight)
    assert counts()[0] == 0, (type(X), X.shape, n_classes)

def sparse(n, p, nnz, dtype, index):
    indices = rng.integers(0, p, (n, nnz // n)).astype(index)
    indices.sort(axis=1)
    indptr = np.arange(n + 1, dtype=index) * indices.shape[1]
    return csr_array((rng.random(indices.size, dtype), indices.ravel(), indptr), (n, p))

binary, several = (140_000, 31), (40_000, 31)
for dtype in (np.float64, np.float32):
    for shape, n_classes in ((binary, 2), (several, 4)):
        X = rng.standard_normal(shape, dtype)
        fit(X, n_classes)
        for index in (np.int32, np.int64):
            fit(sparse(shape[0], 1000, 1_100_000, dtype, index), n_classes)
    for index in (np.int32, np.int64):
        wide = sparse(300, 60_000, 30_000, dtype, index)
        wide.data[:] = 1
        fit(wide, 12)
X = rng.standard_normal(several)
weights = pd.Series(rng.random(len(X)))
fit(X, 4, weights)
fit(pd.DataFrame(X), 4, class_weight="balanced", fit_intercept=False)
np.save(sys.argv[1], X)
for solver in ("newton-cg", "newton-cholesky", "newton-kronecker"):
    fit(np.load(sys.argv[1], mmap_mode="r"), 4, weights[::-1], solver=solver)
fit(rng.standard_normal((300, 8000)), 2)
fit(rng.standard_normal((300, 8000)), 3, C=np.inf)
assert counts()[1] > 20
"""


@compiles
def test_after_a_warmup_nothing_is_left_to_compile(tmp_path):
    """Neither a loop that it did not reach, nor types that a fit calls one with."""
    if disk_cache.folder() is None:
        pytest.skip("caching is off")
    warmup()
    compiled, loaded = compiling.counts()
    assert warmup().compiled == 0
    own = [loop for loop in compiling.LOOPS if loop.py_func.__module__.startswith("secondorder.")]
    assert [loop for loop in entries(own) if not loop.signatures] == []
    assert compiled + loaded > 20
    command = [sys.executable, "-c", KINDS_OF_FITS, str(tmp_path / "X.npy")]
    subprocess.run(command, check=True)


def test_the_command_line_says_what_it_did():
    command = [sys.executable, "-m", "secondorder", "warmup"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "loops compiled" in done.stdout
