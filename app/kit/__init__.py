"""Leaves that know no room, no database and no framework."""
