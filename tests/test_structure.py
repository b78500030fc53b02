"""The laws of the architecture, read from the source and from fresh interpreters."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import secondorder

SOURCE = Path(secondorder.__file__).parent
MODULES = {path: ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}

# Who may import whom: every part only what stands before it.
LAYERS = ["kernels", "array_api", "losses", "models", "objective", "curvature", "solvers"]
SURFACE = ["linear_model", "neural_network", "inspection"]
ENTRANCES = ["warmup", "__main__"]


def part(path: Path) -> str:
    """The layer that a module belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(tree: ast.Module) -> set[str]:
    """All modules imported anywhere in `tree`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path):
    if part(path) == "__init__":
        return
    own = {name.split(".")[1] for name in imports(MODULES[path]) if name.startswith("secondorder.")}
    order = LAYERS + SURFACE + ENTRANCES
    assert {order.index(other) for other in own} <= set(range(order.index(part(path)) + 1))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_kernels_use_numba_and_only_the_surface_uses_scikit_learn(path):
    roots = {name.split(".")[0] for name in imports(MODULES[path])}
    assert "numba" not in roots or part(path) == "kernels"
    assert "sklearn" not in roots or part(path) in SURFACE


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_functions_fit_a_screen_and_say_what_they_do(path):
    for node in ast.walk(MODULES[path]):
        if not isinstance(node, ast.FunctionDef):
            continue
        doc = ast.get_docstring(node, clean=False) or ""
        body = node.end_lineno - node.lineno - doc.count("\n")
        assert body <= 60, f"{node.name} has {body} lines"


def loaded_after(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after `statement`."""
    code = f"import sys; {statement}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_engine_loads_neither_numba_nor_scikit_learn():
    engine = ("losses", "models", "objective", "curvature", "solvers")
    loaded = loaded_after("; ".join(f"import secondorder.{name}" for name in engine))
    assert not loaded & {"numba", "sklearn", "pandas", "matplotlib"}


def test_a_small_fit_loads_no_numba():
    loaded = loaded_after(
        "from secondorder.linear_model import LogisticRegression as M; "
        "from sklearn.datasets import load_iris; M().fit(*load_iris(return_X_y=True))"
    )
    assert "numba" not in loaded
    assert "matplotlib" not in loaded
