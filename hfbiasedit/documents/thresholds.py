"""Where a number becomes something that a reader must be told: conventions, not results."""

from __future__ import annotations

LOW_MASS_SHARE = 0.2  # of the prompts: those whose gender mass is below 1 %
FEW_PROFESSIONS = 30
FEW_PROMPTS = 100
FEW_IN_CELL = 5  # prompts below which the score of a part says next to nothing
MUCH_WORSE = 10.0  # points by which a profession's FB rises
MASS_LOST = 0.05  # of the gender mass before the edit
PERPLEXITY_RISE = 0.01  # relative
