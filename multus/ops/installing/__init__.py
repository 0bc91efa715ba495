"""Putting Multus onto a node and taking it off again, so that the node works at every moment.

Files are written beside their place, seen to the disk and renamed: a running program is replaced
while it runs, and a runtime never reads half a configuration.  What was there before is kept.
"""
