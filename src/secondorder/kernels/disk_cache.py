"""Compiled loops kept on disk, in a cache folder of the user.

Numba's own cache stands beside the source, which may be read-only, and sees only changes of the file a
function stands in. It also keeps an index for each function, in which two processes that compile
different signatures at the same time can mix them up. Here every source of this package counts, and
a signature is one file, written in one step.
"""

import hashlib
import os
import pickle
import sys
import uuid
import warnings
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import config
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

import secondorder

OFF = "off"


def user_folder() -> Path | None:
    """The folder for caches of this package: SECONDORDER_CACHE_DIR, or the platform's; None for none."""
    chosen = os.environ.get("SECONDORDER_CACHE_DIR", "")
    if chosen:
        return None if chosen == OFF else Path(os.path.expanduser(chosen)).absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        given = os.environ.get("XDG_CACHE_HOME", "")
        base = given if os.path.isabs(given) else "~/.cache"  # relative ones are to be ignored
    base = os.path.expanduser(base)
    if not os.path.isabs(base):
        warn_once("there is no home folder")
        return None
    return Path(base, "secondorder")


@cache
def folder() -> Path | None:
    """Where the loops of this very code are kept: no other version of anything that made them looks there."""
    parent = user_folder()
    sources = hashlib.sha256()
    for source in sorted(files("secondorder.kernels").iterdir(), key=lambda source: source.name):
        if source.name.endswith((".py", ".pyc")):
            sources.update(source.read_bytes())
    settings = [getattr(config, name) for name in ("USING_SVML", "OPT", "BOUNDSCHECK")]
    sources.update(repr((llvmlite.__version__, settings)).encode())
    versions = (secondorder.__version__, sys.implementation.cache_tag, "numba", numba.__version__)
    return parent and parent / "-".join([*map(str, versions), sources.hexdigest()[:16]])


class DiskCache(NullCache):
    """The cache of one function, as Numba's dispatchers use it."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        self._name = f"{function.__module__.split('.')[-1]}.{function.__qualname__}"
        self._folder = folder

    @property
    def cache_path(self) -> str:
        """The folder."""
        return str(self._folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for the types `sig`, or None if it is not there."""
        target_context.refresh()
        try:
            kept = pickle.loads(self._file(sig, target_context.codegen()).read_bytes())
            return CompileResult._rebuild(target_context, *kept)
        except Exception:  # a damaged file can raise anything, and is compiled anew
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled function `data` for the types `sig`."""
        if data.library.has_dynamic_globals:  # holds addresses of this process
            return
        file = self._file(sig, data.codegen)
        try:
            _write(file, dumps(data._reduce()))
        except OSError as error:
            if not file.exists():  # or Windows lets no one replace a file that another process reads
                warn_once(f"{self._folder}: {error.strerror}")

    def _file(self, sig: Any, codegen: Any) -> Path:
        """One file for each tuple of types and each kind of processor."""
        key = hashlib.sha256(repr((sig, codegen.magic_tuple())).encode()).hexdigest()
        return self._folder / f"{self._name}-{key[:32]}.bin"


def _write(file: Path, data: bytes) -> None:
    """Write the file at once or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        draft.write_bytes(data)
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)


@cache
def warn_once(reason: str) -> None:
    """Say what it means that nothing can be kept."""
    warnings.warn(
        f"Compiled code cannot be kept on disk ({reason}), so each new process compiles it again. Set the "
        "environment variable SECONDORDER_CACHE_DIR to a writable folder to keep it, or to "
        f"{OFF!r} to keep nothing.",
        stacklevel=2,
    )
