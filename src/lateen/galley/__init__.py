"""Analysis: what is wrong with a configuration, as diagnostics that name object and field."""
