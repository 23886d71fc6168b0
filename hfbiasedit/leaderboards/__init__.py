"""Many audits as one page and one table."""
