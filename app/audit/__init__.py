"""The record of who changed what, when, from where: appended with the change, hash-chained, never edited."""
