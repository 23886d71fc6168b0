"""What a model writes when it is asked to go on: decoding, room, stops."""
