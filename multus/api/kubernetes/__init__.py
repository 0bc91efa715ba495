"""What plugins need of Kubernetes: objects, the API server, annotations, and the shared keys.

Importing it loads neither HTTP nor TLS.  :class:`Api` reads from and writes to an API server.  A
plugin never creates one; :func:`api_of` returns that of the request.  Behind it is the API server
itself, a daemon's caches, or files.
:func:`view_of` returns a source's :class:`View` of its request: the pod's annotations, and the
objects that they name.  All sources of a request share it, so each object is read once.

The names below, and the modules, are public; a module or name that begins with an underscore is
not:

``networks``
    Network objects, and the annotations that choose them.
"""

from __future__ import annotations

from multus.api.kubernetes._annotations import (
    annotation_of,
    config_in,
    entry_of,
    interface_of,
    json_list,
    named,
    short_form,
    short_list,
    shown,
)
from multus.api.kubernetes._deadline import Deadline
from multus.api.kubernetes._edits import Change, Edit, editing
from multus.api.kubernetes._failures import (
    ApiFailure,
    NotFound,
    TooLarge,
    Unreachable,
    Unreadable,
    VersionExpired,
)
from multus.api.kubernetes._interface import Annotate, Api, ApiUse, PodEvent, PodRef, Write
from multus.api.kubernetes._objects import EVENTS, NODES, PODS, ObjectRef, Resource
from multus.api.kubernetes._opening import api_of
from multus.api.kubernetes._pods import is_same
from multus.api.kubernetes._settings import (
    MAX_NETWORKS,
    SourceSettings,
    is_label,
    is_object_name,
    problems,
)
from multus.api.kubernetes._sourcekeys import KUBECONFIG, SHARED_KEYS
from multus.api.kubernetes._view import View, view_of

#: The public modules of this package.
MODULES = ("networks",)

__all__ = [
    "EVENTS",
    "KUBECONFIG",
    "MAX_NETWORKS",
    "NODES",
    "PODS",
    "SHARED_KEYS",
    "Annotate",
    "Api",
    "ApiFailure",
    "ApiUse",
    "Change",
    "Deadline",
    "Edit",
    "NotFound",
    "ObjectRef",
    "PodEvent",
    "PodRef",
    "Resource",
    "SourceSettings",
    "TooLarge",
    "Unreachable",
    "Unreadable",
    "VersionExpired",
    "View",
    "Write",
    "annotation_of",
    "api_of",
    "config_in",
    "editing",
    "entry_of",
    "interface_of",
    "is_label",
    "is_object_name",
    "is_same",
    "json_list",
    "named",
    "problems",
    "short_form",
    "short_list",
    "shown",
    "view_of",
]
