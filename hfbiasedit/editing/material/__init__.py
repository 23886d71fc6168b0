"""What an edit works on: prompts and general code as tensors, and the losses on them."""
