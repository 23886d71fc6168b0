"""The structures of the JSON documents, one module each."""
