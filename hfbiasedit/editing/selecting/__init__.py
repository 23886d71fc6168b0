"""From a ranking and a budget to a selection of weights."""
