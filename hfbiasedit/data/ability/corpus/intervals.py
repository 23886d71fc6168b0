"""Closed intervals on the number line, and sets made of them."""

from bisect import bisect_left, bisect_right


class Interval:
    """All numbers from `low` to `high`, both included."""

    __slots__ = ("low", "high")

    def __init__(self, low, high):
        if low > high:
            raise ValueError(f"{low} is larger than {high}")
        self.low = low
        self.high = high

    def __contains__(self, value):
        return self.low <= value <= self.high

    def __repr__(self):
        return f"Interval({self.low!r}, {self.high!r})"

    def touches(self, other):
        return self.low <= other.high and other.low <= self.high

    def merge(self, other):
        return Interval(min(self.low, other.low), max(self.high, other.high))


class IntervalSet:
    """Disjoint intervals in ascending order."""

    def __init__(self, intervals=()):
        self._items = []
        for interval in intervals:
            self.add(interval)

    def add(self, interval):
        lows = [item.low for item in self._items]
        highs = [item.high for item in self._items]
        first = bisect_left(highs, interval.low)
        last = bisect_right(lows, interval.high)
        for item in self._items[first:last]:
            interval = interval.merge(item)
        self._items[first:last] = [interval]

    def __contains__(self, value):
        position = bisect_right([item.low for item in self._items], value) - 1
        return position >= 0 and value in self._items[position]

    def __len__(self):
        return len(self._items)

    def total(self):
        return sum(item.high - item.low for item in self._items)
