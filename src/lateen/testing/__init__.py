"""Fakes that ship with the package, for tests only."""
