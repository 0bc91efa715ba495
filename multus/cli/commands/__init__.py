"""The commands: one module or package each, including the logic that only it uses."""
