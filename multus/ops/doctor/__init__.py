"""Looking at a node: what keeps pods from their networks now, and what will soon.

Each module of this package looks at one thing and says what it found; nothing is changed.
"""
