"""What makes a request all or nothing: lock, journal, transaction, undo, garbage collection."""
