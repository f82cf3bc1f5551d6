"""The guide's pages, executed."""
