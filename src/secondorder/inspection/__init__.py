"""Fitted models looked at."""

from secondorder.inspection._path_display import PathDisplay

__all__ = ["PathDisplay"]
