"""Model, patch and dataset cards."""
