"""A database of inputs and pure queries over them that recomputes only what a change can reach."""
