"""Envoy: its API as message classes, bootstrap, process, admin interface, canonical rendering."""
