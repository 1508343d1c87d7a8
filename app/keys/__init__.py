"""API keys and the projects that they belong to: who may call, what for, and what outlasts a restored backup."""
