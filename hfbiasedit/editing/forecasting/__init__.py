"""What an edit will cost, from a model's configuration alone."""
