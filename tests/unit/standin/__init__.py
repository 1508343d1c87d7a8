"""The model stand-in: its wire, its faults, its refusals."""
