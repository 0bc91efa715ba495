"""What the Go Multus leaves on a node, and what becomes of its settings here."""
