"""CodeGenBias as a dataset: files, card, upload."""
