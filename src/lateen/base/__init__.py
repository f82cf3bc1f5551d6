"""Names, host names, labels, SPIFFE ids, durations, diagnostics and errors: what every other package speaks."""
