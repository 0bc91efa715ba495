"""What in-process invokers have in common, when their attachment is a link in the container.

An invoker subclasses `LinkInvoker`, and says how its configuration is read and how its link is
created; addresses, routes, rules, undoing, DEL, CHECK, STATUS and GC are the class's::

    class Macvlan(LinkInvoker[Config]):
        name = kind = "macvlan"

        def read(self, invocation: Invocation) -> Config:
            return Config.read(invocation)

        def create(self, job: Job[Config]) -> Made:
            parent = job.ends.host_link(job.config.master)
            message = create.macvlan(job.ifname, parent.index, namespace=job.ends.pod)
            link = job.create_inside(message)
            return Made(link.index, (job.interface(link.mac),))

An invoker that changes a link which an earlier plugin of the chain created subclasses `Chained`.

The names below, and the module, are public; a module or name that begins with an underscore is not:

``devices``
    Interfaces of the host that are moved to a container and back.
``defaultroute``
    The step that decides about the default routes of a network; the engine adds it.
``lacking``
    What a configuration names and the node lacks: interfaces, devices, addresses, programs.
"""

from __future__ import annotations

from multus.inprocess._chained import Chained
from multus.inprocess._ends import Ends
from multus.inprocess._job import Job, Made
from multus.inprocess._kept import folder_of, forget, keep
from multus.inprocess._link import LinkInvoker
from multus.inprocess._requested import naming, reader_of, requested_mac, require_nameable
from multus.inprocess._veth import Pair, make_pair

#: The public modules of this package.
MODULES = ("defaultroute", "devices", "lacking")

__all__ = [
    "Chained",
    "Ends",
    "Job",
    "LinkInvoker",
    "Made",
    "Pair",
    "folder_of",
    "forget",
    "keep",
    "make_pair",
    "reader_of",
    "requested_mac",
    "naming",
    "require_nameable",
]
