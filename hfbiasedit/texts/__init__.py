"""Reading text: JSON lines, the code an edit must keep, the code that is measured."""
