"""Code models: where they come from, how they load, what their weights are called."""
