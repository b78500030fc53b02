"""Scikit-learn's callbacks, an interface that is experimental and that versions before 1.9 lack.

All that is known of it here is in this module; without it fits run as they would with no callbacks set.
"""

from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackContext, CallbackSupportMixin, with_callbacks

    AVAILABLE = hasattr(CallbackSupportMixin, "_init_callback_context") and all(
        hasattr(CallbackContext, name)
        for name in ("subcontext", "call_on_fit_task_begin", "call_on_fit_task_end")
    )
except ImportError:
    AVAILABLE = False

if not AVAILABLE:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands where scikit-learn's mixin would."""

    def with_callbacks(method: Callable) -> Callable:
        """The method as it is."""
        return method


TO_CALLER = 3 if AVAILABLE else 2  # stack level, in a method decorated with `with_callbacks`, of its caller


class Task:
    """A fit, or a part of it, as callbacks see it: it begins when it is made.

    Parameters
    ----------
    estimator : LinearClassifier
    data : dict
        What callbacks may ask for: `X`, `y` and `metadata`.
    context : sklearn.callback.CallbackContext or None
    """

    def __init__(self, estimator: Any, data: dict[str, Any], context: Any) -> None:
        self._estimator, self._data, self._context = estimator, data, context
        if context is not None:
            context.call_on_fit_task_begin(estimator=estimator, **data)

    @classmethod
    def of_fit(cls, estimator: Any, X: Any, y: Any, sample_weight: Any, n_parts: int | None) -> "Task":
        """The task of a whole fit, with at most `n_parts` parts; None where that is not known."""
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        context = estimator._init_callback_context(max_subtasks=n_parts) if AVAILABLE else None
        return cls(estimator, {"X": X, "y": y, "metadata": metadata}, context)

    def part(self, name: str) -> "Task":
        """The next part of the task."""
        context = None if self._context is None else self._context.subcontext(task_name=name)
        return Task(self._estimator, self._data, context)

    def end(self, fitted: Callable[[], dict[str, Any]] | None = None) -> None:
        """The end of the task; `fitted`, if asked, gives the attributes of the estimator fitted so far."""
        if self._context is not None:
            self._context.call_on_fit_task_end(
                estimator=self._estimator, **self._data, reconstruction_attributes=fitted
            )
