"""Audit reports: how far a model is from the reference, for whom, and how sure we are."""
