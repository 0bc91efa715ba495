"""A picture of a node: which pod is attached to what.

``model`` has the values, ``reading`` reads them from a node, ``svg`` draws them (``placing`` says
where), ``requests`` reads the trace, ``frame`` is the page around drawings, ``serving`` serves it.
"""
