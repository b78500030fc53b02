"""Whether the data are linearly separable, so that without penalty no optimum exists."""

from enum import Enum

import numpy as np

from secondorder.losses.output_hessian import Array
from secondorder.objective import Point

# Newton's step on the tail of the loss moves an output by 1 or more; near an optimum steps shrink.
STRIDE = 0.5
# Rows that move back by less than this part of the largest move forward do not move back.
BACKWARD = 1e-6


class Outlook(Enum):
    """What the last step says of an objective without penalty."""

    SETTLED = "the outputs come to rest"
    MOVING = "some outputs still move"
    SEPARATED = "some outputs can move on for ever, and no row stands against it"


def outlook(point: Point, before: Array, promised: float) -> Outlook:
    """Look at the outputs, and at the step from those `before`, with the decrease its model `promised`.

    If the outputs put the target of every row first, the classes are separated completely: scaling the
    parameters up lowers the loss to 0 without end. If a step does so weakly, it is a direction of
    recession, and the separation is quasi-complete (Albert & Anderson, Biometrika 71, 1984).

    A step is only nearly such a direction while other rows settle: they move back by a part r of the
    largest move forward. Could they stop it, with a weight s, then at an optimum where the moving rows have
    slopes of about s r / 2, and half a unit away from it a decrease of s r / 16 would be in store.
    Where less is, they cannot.
    """
    o = point.objective
    used = o.s > 0
    if np.min(o.loss.margin(point.forward.outputs, o.y)[used]) > 0:
        return Outlook.SEPARATED
    step = point.forward.outputs - before
    if np.max(np.abs(step[used])) <= STRIDE:
        return Outlook.SETTLED
    change = o.loss.margin(step, o.y)[used]
    forward = np.max(change)
    if forward <= STRIDE:
        return Outlook.MOVING
    backward = max(-np.min(change) / forward, BACKWARD)
    against = change < -BACKWARD * forward
    weight = np.min(o.s[used][against]) if np.any(against) else np.mean(o.s[used])
    unstoppable = 16 * promised <= backward * weight
    return Outlook.SEPARATED if unstoppable else Outlook.MOVING
