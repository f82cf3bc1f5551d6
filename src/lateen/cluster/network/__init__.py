"""Links, addresses, interception rules and service addresses of the embedded cluster's pods."""
