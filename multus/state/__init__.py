"""What makes a request all or nothing, and DEL, GC and recovery possible for another process.

Read it in this order:

* ``transaction``: the lock, the journal, the attempt and its undo, as one story;
* ``lock``: one command at a time for a container;
* ``journal``, ``recordfile``, ``record``, ``lines``: which files there are, how one is written and
  read, and what its lines say;
* ``change``: one network more, or less, of a running container;
* ``undo``: all that a record names is detached; ``stuck``: when to stop trying;
* ``garbage``: which records no container claims any more;
* ``verify``: whether the kernel has what a record says; ``liveness``: whether the container's
  namespace still exists;
* ``predecessor``: records of the Go Multus.

Nothing here imports the engine: ``plugins.Plugins`` is what it has to provide.
"""
