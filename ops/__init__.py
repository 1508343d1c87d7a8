"""Operator commands: everything behind `python -m ops`."""
