"""The shapes of the training text: small generators of people-processing and ordinary code."""
