"""Talks to the model server: HTTP in OpenAI's wire."""
