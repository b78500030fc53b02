"""Whether the data are linearly separable, so that without penalty no optimum exists."""

import numpy as np

from secondorder.objective import Point

# A direction counts as separating when no row moves back by more than this part of the largest move.
TOLERANCE = 1e-9


def separated(point: Point, previous: Point) -> bool:
    """Whether the outputs, or their last change, put the target of every row first.

    If the outputs do, the classes are separated completely, and scaling the parameters up lowers the
    loss to 0 without end. If their change does, weakly, it is a direction of recession: quasi-complete
    separation (Albert & Anderson, Biometrika 71, 1984).
    """
    o = point.objective
    used = o.s > 0
    margin = o.loss.margin(point.forward.outputs, o.y)[used]
    change = o.loss.margin(point.forward.outputs - previous.forward.outputs, o.y)[used]
    moves = np.max(change, initial=0.0)
    recedes = moves > 1e-3 and np.min(change, initial=0.0) >= -TOLERANCE * moves
    return bool(np.min(margin, initial=np.inf) > 0 or recedes)
