"""What keys and projects have used, and what they may still use. Below the edge; the room that tells is app/usage."""
