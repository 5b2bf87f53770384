"""Which values of a parameter are always tested, and which only by `make test-all`."""

import pytest


def slow_but(quick, values):
    """All values as parameters of a test; those that are not in `quick` are slow.

    A value may be a tuple, for several parameters at once.
    """
    quick, values = list(quick), list(values)
    assert all(value in values for value in quick), f"some of {quick} are not in {values}"
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else [value]),
            marks=[] if value in quick else pytest.mark.slow,
        )
        for value in values
    ]
