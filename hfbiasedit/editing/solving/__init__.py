"""How the selected weights move: the task, and one module per method."""
