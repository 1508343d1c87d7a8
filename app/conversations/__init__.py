"""Conversations: threads by another name, whose messages, calls and outputs are items."""
