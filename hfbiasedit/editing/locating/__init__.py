"""Which weights carry the bias."""
