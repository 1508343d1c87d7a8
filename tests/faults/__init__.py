"""Proofs against crashes: slow, so not part of `just test`."""
