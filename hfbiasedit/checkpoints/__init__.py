"""What a checkpoint directory is: its files, headers, dtypes and marks."""
