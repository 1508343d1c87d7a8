"""Responses: turns of a model that start from items and end in items, with a past or without one."""
