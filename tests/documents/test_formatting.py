from __future__ import annotations

import math

import pytest

from hfbiasedit.documents import formatting as text


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (text.score(12.345), "12.3"),
        (text.score(-0.04), "0.0"),
        (text.score(-1.25, 2), "−1.25"),
        (text.change(3.21), "+3.2"),
        (text.change(-3.21), "−3.2"),
        (text.change(0.0), "0.0"),
        (text.change(-0.01), "0.0"),
        (text.percent(0.4312), "43.1%"),
        (text.percent(0), "0.0%"),
        (text.percent(0.00254), "0.25%"),
        (text.percent(0.00996), "1.0%"),
        (text.percent(0.000031), "0.0031%"),
        (text.relative(-0.823), "−82%"),
        (text.relative(0.0032), "+0.3%"),
        (text.interval([11, 13.55], 1), "11.0 to 13.6"),
        (text.interval([0.11, 0.23], scale=100), "11.0 to 23.0"),
        (text.change_interval([-9.1, 0.2]), "−9.1 to +0.2"),
        (text.interval([11.04, 11.04]), "–"),
        (text.interval([11.04, 11.05]), "11.0 to 11.1"),
        (text.change_interval([-9.1, -9.1]), "–"),
        (text.count(1234567), "1,234,567"),
        (text.parameters(6_738_415_616), "6.74 B"),
        (text.parameters(124_439_808), "124 M"),
        (text.parameters(999_600_000), "1 B"),
        (text.parameters(3200), "3,200"),
        (text.file_size(12), "12 B"),
        (text.file_size(205_000), "205 kB"),
        (text.file_size(1_310_000_000), "1.3 GB"),
        (text.file_size(999_900), "1.0 MB"),
        (text.duration(0.42), "0.4 s"),
        (text.duration(59.7), "1 min"),
        (text.duration(200), "3 min 20 s"),
        (text.duration(7500), "2 h 5 min"),
        (text.significant(0), "0"),
        (text.significant(0.00123), "0.00123"),
        (text.significant(6.213, 4), "6.213"),
        (text.significant(123456.7), "123,457"),
        (text.significant(1.5e-9), "1.50e-09"),
    ],
)
def test_numbers_read_well(shown, expected):
    assert shown == expected


@pytest.mark.parametrize("show", [text.score, text.percent, text.change, text.count, text.duration])
@pytest.mark.parametrize("bad", [None, math.nan, math.inf, True])
def test_what_is_no_number_is_refused(show, bad):
    with pytest.raises(ValueError, match="cannot print"):
        show(bad)
