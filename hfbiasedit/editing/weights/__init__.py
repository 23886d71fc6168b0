"""Parts of weights: which are chosen, and how they are moved in a running model."""
