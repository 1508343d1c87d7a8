"""Backup and restore of the SQLite state: snapshots, the store they are kept in, and the way back (docs/backup.md)."""
