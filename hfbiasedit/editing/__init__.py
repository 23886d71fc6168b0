"""MG-Editing: locate the weights that carry the bias, select some, edit only those."""
