"""The values that the stages hand to one another: frozen, typed, and free of effects.

JSON keys live in the ``from_wire`` and ``to_wire`` of each value and nowhere else.
"""
