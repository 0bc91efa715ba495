"""The installed plugins: discover them, load them, call their hooks."""
