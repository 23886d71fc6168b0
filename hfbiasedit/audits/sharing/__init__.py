"""Audits for others: on the page of the model, in a dataset of audits."""
