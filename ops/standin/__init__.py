"""The development model stand-in: a small OpenAI-wire server that answers as vLLM does, with no model.

It imports nothing of `app`, so that the API can only ever meet it over HTTP.
"""
