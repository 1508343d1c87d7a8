"""Whether the process is alive and can work. A room of its own: it asks the rooms below, and none asks it."""
