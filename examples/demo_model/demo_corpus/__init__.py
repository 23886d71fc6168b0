"""The training text of the demo model: generated code about people, and the stdlib."""
