"""The HTML report of an audit or a run."""
