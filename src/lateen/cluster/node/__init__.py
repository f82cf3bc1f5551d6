"""The embedded node: turns Pods assigned to it into sandboxes and containers and reports their status."""
