"""Patches: an edit as a small safetensors file that applies, reverses and verifies bit for bit."""
