"""Messages of a thread, in the order of their positions."""
