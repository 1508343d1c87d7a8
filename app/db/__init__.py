"""The store: one writer, many readers, typed tables. Nothing here knows a room or HTTP."""
