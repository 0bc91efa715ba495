"""From a NetworkAttachmentDefinition to a delegate.

Source: NPWG standard 1.3, sections 3.4 and 4.1.2.1.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus.api.conffiles import by_name
from multus.api.delegates import delegate_from, with_cni_args
from multus.api.errors import InvalidConfig, MissingFile
from multus.api.kubernetes import ObjectRef, Resource, config_in
from multus.api.network import Provenance
from multus.api.reader import Reader
from multus.api.where import Where, path_of

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate, Element

DEFINITIONS = Resource(
    "k8s.cni.cncf.io",
    "v1",
    "network-attachment-definitions",
    "network-attachment-definition",
)
CONF_DIR = "/etc/cni/multus/net.d"
_LONGEST_CHAIN = 64
RESOURCE_NAME = "k8s.v1.cni.cncf.io/resourceName"


def wanted(namespace: str, name: str) -> ObjectRef:
    """A reference to the definition with this name."""
    return DEFINITIONS.object(namespace, name)


def delegate_of(wire: Mapping[str, Any], namespace: str, element: Element, conf: Conf) -> Delegate:
    """The delegate of *element* with the definition *wire*; raises ``InvalidConfig``.

    Its ``resource`` is the definition's.  Its ``device`` is the one that the element names, until
    the engine assigns another one.
    """
    where = str(wanted(namespace, element.name))
    config, provenance = _config(wire, element.name, where, conf)
    place = Where(where, ("spec", "config"))
    _refuse_long_chain(config, place)
    annotations = Reader(wire, where).inner("metadata").mapping("annotations")
    resource = str(annotations.get(RESOURCE_NAME) or "")
    delegate = delegate_from(
        with_cni_args(config, _args(element.options), place),
        conf,
        place,
        name=element.name,
        label=f"{namespace}/{element.name}",
        provenance=provenance,
    )
    device = str(element.options.get("deviceID", ""))
    return evolve(delegate, resource=resource, device=device)


def _config(
    wire: Mapping[str, Any], name: str, where: str, conf: Conf
) -> tuple[dict[str, Any], Provenance]:
    """The configuration, and its author: a tenant, or the node's owner in a file."""
    spec = Reader(wire, where).inner("spec")
    if spec.text("config").strip():
        return config_in(spec, name), Provenance.TENANT
    folder = conf.reader.place("confDir", CONF_DIR)
    found = by_name(folder, name, (".conflist",)) or by_name(folder, name, (".conf", ".json"))
    if found is None:
        raise MissingFile(
            f"{where} has no 'spec.config', and no file in {folder} has a network named {name!r}",
            path=("spec", "config"),
            fix="add one of the two",
        )
    return dict(found.config), Provenance.NODE


def _refuse_long_chain(config: Mapping[str, Any], where: str) -> None:
    """Limit the chain: each plugin gets the element's arguments, which multiplies their size."""
    plugins = config.get("plugins")
    if isinstance(plugins, list) and len(plugins) > _LONGEST_CHAIN:
        raise InvalidConfig(
            f"{where} has {len(plugins)} 'plugins'",
            path=(*path_of(where), "plugins"),
            fix=f"write at most {_LONGEST_CHAIN}",
        )


def _args(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the element adds to the definition's ``args.cni``."""
    asked = dict(options.get("cni-args") or {})
    if options.get("ipam-claim-reference"):
        # The standard does not say how a delegate gets the claim.  Passed here, the delegate does
        # not need the API.
        asked.setdefault("ipam-claim-reference", options["ipam-claim-reference"])
    return asked
