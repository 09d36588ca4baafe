"""Curves with as many points as a chart shows."""

import numpy as np


def thinned(values: np.ndarray, most: int) -> np.ndarray:
    """Places [M], ascending, of at most so many values (4 or more) of the values [N].

    Of more than that the first and the last are among them, and of each of equal parts between
    the smallest and the largest, so that no spike is lost. A part without a finite value gives its
    first.
    """
    if len(values) <= most:
        return np.arange(len(values))
    places = {0, len(values) - 1}
    for part in np.array_split(np.arange(1, len(values) - 1), (most - 2) // 2):
        numbers = values[part]
        if np.isnan(numbers).all():
            places.add(int(part[0]))
            continue
        places |= {int(part[np.nanargmin(numbers)]), int(part[np.nanargmax(numbers)])}
    return np.array(sorted(places))
