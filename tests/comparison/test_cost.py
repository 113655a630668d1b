import pytest

from wsjax import architectures
from wsjax.comparison.cost import TooLargeError, allow, cost


def test_time_is_cubic_and_memory_square_in_width():
    narrow, wide = (cost(architectures.mlp([n, n, n, n])) for n in (2000, 4000))
    assert 6 < wide.minutes / narrow.minutes < 9
    assert 3.9 < wide.gigabytes / narrow.gigabytes < 4.1


def test_limits_are_named():
    spec = architectures.mlp([4, 4096, 4096, 4])
    with pytest.raises(TooLargeError, match="--limit-gb, --limit-minutes") as error:
        allow(spec, 1, 0.1, 60)
    assert error.value.code == 3
    assert allow(spec, 1, 10, 1e6) == cost(spec)
