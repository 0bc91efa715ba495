"""References to objects of the Kubernetes API."""

from __future__ import annotations

from attrs import field, frozen


@frozen
class Resource:
    """A kind of object: ``plural`` is its name in URLs, as in ``kubectl get <plural>.<group>``.

    ``group`` is "" for the core group, which has pods.  ``noun`` is the kind's name in messages.
    ``title`` is the format of an object's name in messages; its fields are ``noun``,
    ``namespace``, ``name`` and ``group``.  ``node_field`` is the field that names an object's node
    ("spec.nodeName"), if the API server selects by it: a daemon caches those of its own node.
    """

    group: str
    version: str
    plural: str
    noun: str = field(default="object", eq=False)
    title: str = field(default="{noun} {namespace}/{name}", eq=False, repr=False)
    node_field: str = field(default="", eq=False)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def object(self, namespace: str, name: str) -> ObjectRef:
        """The object of this kind that has this name."""
        return ObjectRef(self, namespace, name)


@frozen
class ObjectRef:
    """One object; ``str()`` is its name in messages: "network-attachment-definition team/a".

    ``namespace`` is "" for a cluster-scoped object.
    """

    resource: Resource
    namespace: str
    name: str

    def __str__(self) -> str:
        kind = self.resource
        return kind.title.format(
            noun=kind.noun, namespace=self.namespace, name=self.name, group=kind.group
        )


PODS = Resource("", "v1", "pods", "pod")
NODES = Resource("", "v1", "nodes", "node", title="{noun} {name}")
EVENTS = Resource("", "v1", "events", "event")
