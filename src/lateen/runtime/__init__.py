"""Plumbing at the edge: clock, tasks, logging, TLS, gRPC, and the protocol between node and agent."""
