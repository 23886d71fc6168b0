"""Prompts of one's own from files."""
