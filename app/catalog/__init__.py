"""Models: what the model server serves, under its own names and the aliases that clients use."""
