"""From prompts to exact log-probabilities, and from those to the FB-Score."""
