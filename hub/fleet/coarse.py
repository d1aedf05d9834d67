"""An exact place in; the middle of its cell of about a kilometre out. The same place gives the same cell, always. Pure.

Rounding and not noise: however often and by whatever way somebody asks, nothing averages out. A degree of longitude shrinks
towards the poles, so each row of cells (0.01 degrees of latitude high, 1.11 km) is cut into as many as keep them as wide as high.
"""

from math import cos, radians

STEP = 0.01
"""The height of a cell [degrees of latitude]."""
DECIMALS = 4
ALTITUDE_STEP_M = 10


def coarse(latitude: float, longitude: float) -> tuple[float, float]:
    """The middle of the cell that holds a place [degrees]."""
    row = round(latitude / STEP)
    middle = row * STEP
    cells = max(1, round(360 * cos(radians(middle)) / STEP))
    width = 360 / cells
    east = round(longitude / width) * width
    return round(middle, DECIMALS), round((east + 180) % 360 - 180, DECIMALS)


def coarse_altitude(metres: float | None) -> float | None:
    """Ten metres more or less say little of where in a cell a place is."""
    return None if metres is None else float(round(metres / ALTITUDE_STEP_M) * ALTITUDE_STEP_M)
