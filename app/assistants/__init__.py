"""Assistants: models with instructions and tools, kept for later runs."""
