"""Exponential and logarithm as plain arithmetic, which the compiler turns into vector instructions."""

from math import factorial
from typing import Any

import numpy as np
from llvmlite.ir import DoubleType, FloatType
from numba.core.types import float32, float64, int32, int64
from numba.extending import intrinsic

from secondorder.kernels.compile import kernel, kernel_in_order

LOWEST = -800.0  # exp is 0 in float64 from some -745 on
MANTISSA = 52  # bits of a float64 below its exponent
BIAS = 1023  # its exponent where it is 1
LANES = 8  # maxima found side by side

LOG2E = 1.4426950408889634
LN2 = 0.6931471805599453
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10  # Cody & Waite: k LN2_HIGH is exact


@intrinsic
def _float_of_bits(typing: Any, bits: Any) -> Any:
    """The float64 with the bits of an int64."""
    return float64(int64), lambda context, builder, signature, args: builder.bitcast(args[0], DoubleType())


@kernel_in_order
def exp_negative(x):
    """``exp(x)`` for x <= 0, to about 1 unit in the last place; NaN stays NaN.

    ``x = k ln 2 + r`` with ``|r| <= ln(2) / 2``, and the Taylor series of ``exp(r)`` up to ``r^13``. The bits
    of ``2^k`` are put together, for a table would have to be gathered from; denormal ones are 0.
    """
    bounded = x if x > LOWEST else LOWEST
    k = np.floor(bounded * LOG2E + 0.5)
    bounded = LOWEST if x <= LOWEST else x
    r = (bounded - k * LN2_HIGH) - k * LN2_LOW
    series = 1 / 6227020800 * r + 1 / 479001600
    series = series * r + 1 / 39916800
    series = series * r + 1 / 3628800
    series = series * r + 1 / 362880
    series = series * r + 1 / 40320
    series = series * r + 1 / 5040
    series = series * r + 1 / 720
    series = series * r + 1 / 120
    series = series * r + 1 / 24
    series = series * r + 1 / 6
    series = series * r + 0.5
    series = series * r + 1.0
    series = series * r + 1.0
    return series * _float_of_bits(np.int64(max(np.int32(k) + BIAS, 0)) << MANTISSA)


LOWEST_SINGLE = np.float32(-87.0)  # exp is denormal in float32 from some -87.3 on
LOG2E_SINGLE, HALF = np.float32(LOG2E), np.float32(0.5)
LN2_HIGH_SINGLE, LN2_LOW_SINGLE = np.float32(0.693359375), np.float32(-2.12194440e-4)
SERIES_SINGLE = tuple(np.float32(1 / factorial(k)) for k in range(8))


@intrinsic
def _single_of_bits(typing: Any, bits: Any) -> Any:
    """The float32 with the bits of an int32."""
    return float32(int32), lambda context, builder, signature, args: builder.bitcast(args[0], FloatType())


@kernel_in_order
def exp_negative_single(x):
    """``exp(x)`` for x <= 0 in float32, to about 1 unit in the last place; 0 where it would be denormal."""
    bounded = LOWEST_SINGLE if x <= LOWEST_SINGLE else x
    k = np.floor(bounded * LOG2E_SINGLE + HALF)
    r = (bounded - k * LN2_HIGH_SINGLE) - k * LN2_LOW_SINGLE
    c = SERIES_SINGLE
    series = c[7] * r + c[6]
    series = series * r + c[5]
    series = series * r + c[4]
    series = series * r + c[3]
    series = series * r + c[2]
    series = series * r + c[1]
    series = series * r + c[0]
    power = _single_of_bits(np.int32((np.int32(k) + np.int32(127)) << np.int32(23)))
    return series * power if x > LOWEST_SINGLE else (np.float32(0) if x <= LOWEST_SINGLE else x)


@kernel
def largest(x, lanes):
    """``max_k x_k``; the entries of `lanes`, which are `LANES`, are the maxima of parts of x."""
    whole = len(x) - len(x) % LANES
    lanes[:] = x[0]
    for k in range(0, whole, LANES):
        for lane in range(LANES):
            lanes[lane] = max(lanes[lane], x[k + lane])
    top = lanes[0]
    for lane in range(1, LANES):
        top = max(top, lanes[lane])
    for k in range(whole, len(x)):
        top = max(top, x[k])
    return top


@kernel
def log1p_fraction(e):
    """``log(1 + e)`` for 0 <= e <= 1, to a few units in the last place also for small e.

    ``log(1 + u) = 2 artanh(u / (2 + u))``, where u is e, or ``(e - 1) / 2`` with ``ln 2`` added.
    """
    large = e > 0.41421356
    u = 0.5 * e - 0.5 if large else e
    z = u / (2.0 + u)
    q = z * z
    series = 1 / 23 * q + 1 / 21
    series = series * q + 1 / 19
    series = series * q + 1 / 17
    series = series * q + 1 / 15
    series = series * q + 1 / 13
    series = series * q + 1 / 11
    series = series * q + 1 / 9
    series = series * q + 1 / 7
    series = series * q + 1 / 5
    series = series * q + 1 / 3
    series = 2 * z + 2 * z * q * series
    return series + LN2 if large else series


@kernel_in_order
def add(total, x):
    """Add `x` to the compensated sum ``total[0] + total[1]`` (Neumaier 1974).

    A search near the minimum compares values of E that differ by little more than their rounding.
    """
    t = total[0] + x
    if abs(total[0]) >= abs(x):
        total[1] += (total[0] - t) + x
    else:
        total[1] += (x - t) + total[0]
    total[0] = t
