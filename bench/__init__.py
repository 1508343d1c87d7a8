"""What the API costs, measured next to the bare model server in the same run. `just bench` prints the table."""
