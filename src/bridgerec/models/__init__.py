"""Candidates: one file per family, all behind the contract of `base`."""
