"""The CNI protocol: the front that a runtime calls, and the shim to the daemon."""
