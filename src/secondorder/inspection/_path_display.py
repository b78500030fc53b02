"""Scores and coefficients against C."""

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from secondorder.linear_model import LogisticRegressionCV
from secondorder.linear_model._logistic_cv import choose

KINDS = ("score", "coefficients")
LEGIBLE = 12  # lines of a legend


class PathDisplay:
    """Held-out score, or coefficients, of a logistic regression against C.

    Make it with `from_estimator`. All arrays are in ascending order of C; ``C=np.inf`` has no place on
    the logarithmic axis and is left out.

    Parameters
    ----------
    Cs : ndarray of shape (n_Cs,)
    scores_mean, scores_se : ndarray of shape (n_Cs,)
        Mean score and its standard error, NaN where that is not known.
    coefs : ndarray of shape (n_Cs, 1 or n_classes, n_features)
        Coefficients of the solutions on all rows.
    C : float
        The chosen one.
    C_1se : float
        The smallest C whose mean score is within one standard error of the best; NaN if not known.
    score_name : str
    classes : sequence
        Labels.
    feature_names : sequence, optional

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    lines_ : list of matplotlib Line2D
        The score, or every coefficient, class by class.
    band_ : matplotlib PolyCollection or None
        One standard error on either side of the score.
    chosen_lines_ : list of matplotlib Line2D
        Vertical lines at `C` and, where it is known, `C_1se`.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from secondorder.inspection import PathDisplay
    >>> from secondorder.linear_model import LogisticRegressionCV
    >>> model = LogisticRegressionCV().fit(*load_wine(return_X_y=True))
    >>> display = PathDisplay.from_estimator(model)  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        Cs: np.ndarray,
        scores_mean: np.ndarray,
        scores_se: np.ndarray,
        coefs: np.ndarray,
        C: float,
        C_1se: float,
        score_name: str,
        classes: Any,
        feature_names: Any = None,
    ) -> None:
        self.Cs = Cs
        self.scores_mean = scores_mean
        self.scores_se = scores_se
        self.coefs = coefs
        self.C = C
        self.C_1se = C_1se
        self.score_name = score_name
        self.classes = classes
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls, estimator: LogisticRegressionCV, *, kind: str = "score", ax: Any = None, **line_kw: Any
    ) -> Self:
        """Display a fitted `LogisticRegressionCV`.

        Parameters
        ----------
        estimator : LogisticRegressionCV
            Fitted.
        kind, ax, **line_kw
            As in `plot`.

        Returns
        -------
        PathDisplay
            Drawn.
        """
        if not isinstance(estimator, LogisticRegressionCV):
            raise TypeError(
                f"from_estimator draws secondorder's LogisticRegressionCV, and this is a "
                f"{type(estimator).__module__}.{type(estimator).__qualname__}; of a pipeline give the last "
                "step, pipeline[-1]."
            )
        check_is_fitted(estimator)
        Cs, first = np.unique(estimator.Cs_, return_index=True)
        first = first[np.isfinite(Cs)]
        if not len(first):
            raise ValueError("There is no finite C to draw: all Cs are infinite.")
        mean, error = estimator.scores_mean_, estimator.scores_se_
        known = not np.any(np.isnan(error))
        scoring = estimator.scoring
        display = cls(
            Cs=estimator.Cs_[first],
            scores_mean=mean[first],
            scores_se=error[first],
            coefs=np.stack([estimator._coefficients(estimator.results_[i].w, np.float64)[0] for i in first]),
            C=estimator.C_,
            C_1se=float(estimator.Cs_[choose(estimator.Cs_, mean, error, "1se")]) if known else np.nan,
            score_name="accuracy" if scoring is None else scoring if isinstance(scoring, str) else "score",
            classes=estimator.classes_,
            feature_names=getattr(estimator, "feature_names_in_", None),
        )
        return display.plot(kind, ax=ax, **line_kw)

    def plot(self, kind: str = "score", *, ax: Any = None, **line_kw: Any) -> Self:
        """Draw.

        Parameters
        ----------
        kind : {"score", "coefficients"}, default="score"
            The mean score with a band of one standard error, or the coefficients of the solutions on all
            rows.
        ax : matplotlib Axes, default=None
            New ones if None.
        **line_kw : dict
            For the lines.

        Returns
        -------
        PathDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If `kind` is unknown.
        """
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r}: choose one of {', '.join(KINDS)}.")
        self.ax_ = _new_axes() if ax is None else ax
        self.figure_ = self.ax_.figure
        self.band_ = None
        if kind == "score":
            self._plot_score(line_kw)
        else:
            self._plot_coefficients(line_kw)
        marks = [(self.C, "-", "chosen C"), (self.C_1se, ":", "within one standard error")]
        self.chosen_lines_ = [
            self.ax_.axvline(C, color="0.4", linestyle=style, linewidth=1, label=f"{what}: {C:.3g}")
            for C, style, what in marks
            if np.isfinite(C)
        ]
        self.ax_.set(xscale="log", xlabel="C")
        if self.ax_.get_legend_handles_labels()[0]:
            self.ax_.legend(fontsize="small")
        return self

    def _plot_score(self, line_kw: dict[str, Any]) -> None:
        """The mean score and its band."""
        self.lines_ = self.ax_.plot(self.Cs, self.scores_mean, **{"marker": "."} | line_kw)
        if not np.any(np.isnan(self.scores_se)):
            self.band_ = self.ax_.fill_between(
                self.Cs,
                self.scores_mean - self.scores_se,
                self.scores_mean + self.scores_se,
                alpha=0.2,
                color=self.lines_[0].get_color(),
                linewidth=0,
            )
        self.ax_.set_ylabel(self.score_name)

    def _plot_coefficients(self, line_kw: dict[str, Any]) -> None:
        """Every coefficient."""
        n_outputs, n_features = self.coefs.shape[1:]
        self.lines_ = self.ax_.plot(self.Cs, self.coefs.reshape(len(self.Cs), -1), **line_kw)
        self.ax_.set_ylabel("coefficient")
        if len(self.lines_) > LEGIBLE:
            return
        names = range(n_features) if self.feature_names is None else self.feature_names
        classes = [""] if n_outputs == 1 else [f"{label}: " for label in self.classes]
        for line, label in zip(self.lines_, [f"{k}{j}" for k in classes for j in names], strict=True):
            line.set_label(label)


def _new_axes() -> Any:
    """Axes of a new figure."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Displays need matplotlib: pip install 'secondorder[plot]'.") from error
    return plt.subplots()[1]
