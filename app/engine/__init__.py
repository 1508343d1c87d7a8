"""One turn of a model over a thread, for every surface. Knows no surface and no HTTP server.

loop (what happens) → executor (who runs it, when) → journal (on disk first) → bus (then told) → follow (to readers)
"""
