"""What plugins import: the values, the hooks and their contract.

JSON keys live in the ``from_wire`` and ``to_wire`` of each value and nowhere else.
"""
