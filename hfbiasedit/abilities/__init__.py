"""Coding ability: perplexity, syntax and HumanEval, before and after an edit."""
