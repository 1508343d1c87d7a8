"""The verbs of `python -m ops`, one module each."""
