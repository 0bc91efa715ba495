"""What the commands for operators are made of: reading what people wrote, and looking at nodes.

Nothing here is on the path of a CNI call.  Needs the extra ``cli``.
"""
