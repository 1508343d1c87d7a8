"""Threads: conversations that keep their messages. Deleting one takes all that is in it."""
