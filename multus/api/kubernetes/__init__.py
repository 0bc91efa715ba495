"""What plugins need of Kubernetes: objects, the API server, annotations, and the shared keys.

This module is public, and all that is public: its submodules are not.  It imports neither HTTP nor
TLS.  :class:`Api` is what a request may ask of an API server, and write there.  A plugin never
makes one, and need not know which it has: the API server itself, a daemon's caches, or files.
:func:`api_of` gives it that of the request.
:func:`view_of` gives a source the :class:`View` of its request: the pod's annotations, and the
objects that they choose, each read once whichever sources ask.
"""

from __future__ import annotations

from multus.api.kubernetes.annotations import (
    interface_of,
    json_list,
    named,
    short_form,
    short_list,
    shown,
)
from multus.api.kubernetes.deadline import Deadline
from multus.api.kubernetes.failures import (
    ApiFailure,
    NotFound,
    TooLarge,
    Unreachable,
    Unreadable,
    VersionExpired,
)
from multus.api.kubernetes.interface import Annotate, Api, ApiUse, PodEvent, PodRef, Write
from multus.api.kubernetes.objects import EVENTS, PODS, ObjectRef, Resource
from multus.api.kubernetes.opening import api_of
from multus.api.kubernetes.settings import (
    MAX_NETWORKS,
    SourceSettings,
    is_label,
    is_object_name,
    problems,
)
from multus.api.kubernetes.view import View, view_of

__all__ = [
    "EVENTS",
    "MAX_NETWORKS",
    "PODS",
    "Annotate",
    "Api",
    "ApiFailure",
    "ApiUse",
    "Deadline",
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
    "api_of",
    "interface_of",
    "is_label",
    "is_object_name",
    "json_list",
    "named",
    "problems",
    "short_form",
    "short_list",
    "shown",
    "view_of",
]
