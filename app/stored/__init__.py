"""Stored chat completions: those that clients asked to keep with `store`, until they delete them."""
