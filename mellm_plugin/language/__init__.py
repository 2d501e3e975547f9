"""Prompts, descriptions, and the readers of answers."""
