"""What was used, told to keys and to administrators. What counts and limits it is app/limits."""
