"""The examples of Multus' first documentation, with the indentation that YAML needs."""

from __future__ import annotations

CONF_FILE = """\
{
    "name": "multus-demo-network",
    "type": "multus",
    "delegates": [
        {
                "type": "sriov",
                #part of sriov plugin conf
                "if0": "enp12s0f0",
                "ipam": {
                        "type": "host-local",
                        "subnet": "10.56.217.0/24",
                        "rangeStart": "10.56.217.131",
                        "rangeEnd": "10.56.217.190",
                        "routes": [
                                { "dst": "0.0.0.0/0" }
                        ],
                        "gateway": "10.56.217.1"
                }
        },
        {
                "type": "ptp",
                "ipam": {
                        "type": "host-local",
                        "subnet": "10.168.1.0/24",
                        "rangeStart": "10.168.1.11",
                        "rangeEnd": "10.168.1.20",
                        "routes": [
                                { "dst": "0.0.0.0/0" }
                        ],
                        "gateway": "10.168.1.1"
                }
        },
        {
                "type": "flannel",
                "masterplugin": true,
                "delegate": {
                        "isDefaultGateway": true
                }
        }
    ]
}
"""

NETWORKS = """\
apiVersion: "kubernetes-network.cni.cncf.io/v1"
kind: Network
metadata:
  name: flannel-conf
plugin: flannel
args: '[
  {
    "delegate": {
      "isDefaultGateway": true
    }
  }
]'
---
apiVersion: "kubernetes-network.cni.cncf.io/v1"
kind: Network
metadata:
  name: sriov-conf
plugin: sriov
args: '[
  {
    "if0": "enp12s0f1",
    "ipam": {
      "type": "host-local",
      "subnet": "10.56.217.0/24",
      "rangeStart": "10.56.217.171",
      "rangeEnd": "10.56.217.181",
      "routes": [
        { "dst": "0.0.0.0/0" }
      ],
      "gateway": "10.56.217.1"
    }
  }
]'
---
apiVersion: "kubernetes-network.cni.cncf.io/v1"
kind: Network
metadata:
  name: sriov-vlanid-l2enable-conf
plugin: sriov
args: '[
  {
    "if0": "enp2s0",
    "vlan": 210,
    "if0name": "north",
    "l2enable": true
  }
]'
"""

POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: multus-multi-net-poc
  annotations:
    networks: '[
      { "name": "flannel-conf" },
      { "name": "sriov-conf"},
      { "name": "sriov-vlanid-l2enable-conf" }
    ]'
spec:  # specification of the pod's contents
  containers:
  - name: multus-multi-net-poc
    image: "busybox"
    command: ["top"]
    stdin: true
    tty: true
"""

KUBECONFIG_CONF = """\
{
  "name": "node-cni-network",
  "type": "multus",
  "kubeconfig": "/etc/kubernetes/node-kubeconfig.yaml"
}
"""

CRD = """\
apiVersion: apiextensions.k8s.io/v1beta1
kind: CustomResourceDefinition
metadata:
  # name must match the spec fields below, and be in the form: <plural>.<group>
  name: networks.kubernetes-network.cni.cncf.io
spec:
  group: kubernetes-network.cni.cncf.io
  version: v1
  scope: Namespaced
  names:
    plural: networks
    singular: network
    kind: Network
    shortNames:
    - net
"""

TPR = """\
apiVersion: extensions/v1beta1
kind: ThirdPartyResource
metadata:
  name: network.kubernetes-network.cni.cncf.io
description: "A specification of a Network obj in the kubernetes"
versions:
- name: v1
"""

#: As it stands in a text that lost its indentation.
FLAT_NETWORK = """\
apiVersion: "kubernetes-network.cni.cncf.io/v1"
kind: Network
metadata:
name: flannel-networkobj
plugin: flannel
args: '[
{
"delegate": {
"isDefaultGateway": true
}
}
]'
"""
