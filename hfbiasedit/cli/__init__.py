"""The command line: one module per command, thin shells over public functions."""
