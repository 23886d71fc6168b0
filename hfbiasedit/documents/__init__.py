"""The JSON documents and run directories: reading, names, numbers as text, comparison."""
