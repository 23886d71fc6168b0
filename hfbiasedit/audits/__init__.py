"""Audit reports: how far a model is from reality, for whom, and how sure we are."""
