"""The installed plugins: finding them, loading them, calling their hooks."""
