"""The commands: one module or package each, with all that only this command needs."""
