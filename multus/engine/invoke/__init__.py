"""Invoke: the only stage with effects.  It chooses an invoker for each plugin and calls its verbs.

Attachments of one container are not made in parallel (NPWG 1.3, section 7.3).

* ``call``: a request and the plugins that carry it out, as a transaction uses them;
* ``plan``: which invoker carries each plugin out, and the exact configuration that it gets;
* ``attach``: ADD;
* ``detach``: DEL;
* ``upkeep``: CHECK, STATUS and GC;
* ``explained``: what an error of another program does not say, found by looking;
* ``calling``: how a verb is called: the errors, the CNI version, the time.
"""
