"""The node heals itself: what containers that are gone have left is found, and removed.

Read it in this order:

* ``facts``: what there is on the node, and who may own it; ``look`` reads it, by ``namespaces``,
  ``owned`` (firewall rules) and ``witness`` (what runtimes say);
* ``plan``: what has no owner, as a value, from facts alone; each thing has its reason;
* ``carrying``: the plan carried out, the oldest thing first;
* ``rounds``: the daemon's: a bounded part at a time, while no call waits.

``multus gc`` shows and carries out the same plan, and ``multus doctor`` complains of what is in it.

A thing is removed only when it is known to be ours: the journal names it or its container, or it is
in the address store of a network of ours, and nothing that lives has it.  What may be another
program's is named, and left alone.
"""
