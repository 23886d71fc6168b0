"""Running a model for an edit: from a later block on, and gradients as they come."""
