"""Stand-ins for what surrounds a part under test, passed in where the real part would be."""
