"""schemathesis on the whole exported document: what it does is in schemathesis.toml, what it needs in __main__.py."""
