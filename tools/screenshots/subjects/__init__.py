"""What there are pictures of: one module for each subject, with ``take(studio)``."""
