"""What makes a machine ready. Standard library only: nothing is installed yet."""
