"""Conformance: every answer and stream event that a test receives, held to OpenAI's schemas and wire tables.

Test tooling only: nothing here imports the product, and the product never imports this.
"""
