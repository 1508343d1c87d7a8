"""Projects and keys from a shell: what to ask for, whom to ask, how to show what came back."""
