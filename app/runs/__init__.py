"""Runs and their steps: a turn of a model over a thread, as the Assistants API shows it."""
