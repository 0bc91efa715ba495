# A node with a daemon, an API server and six pods; sourced by a shell in namespaces of its own.
# Its folders of CNI are empty at first, and it has no network but its own.
set -eu
for folder in /etc/cni /opt/cni /var/lib/cni /run/netns /run/multus; do
    mkdir -p $folder
    mount -t tmpfs -o mode=755 tmpfs $folder
done
mkdir -p /etc/cni/net.d /etc/cni/multus /opt/cni/bin
ln -s /usr/lib/cni/* /opt/cni/bin
hostname node-a
ip link set lo up
ip link add eth1 type veth peer name uplink
ip link set eth1 up
ip link set uplink up

# network NAME CONFIGURATION: a definition in the namespace shop.
network() {
    cat >>objects.yaml <<END
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: $1, namespace: shop}
spec: {config: '{"cniVersion": "1.1.0", $2}'}
END
}
network storage '"type": "macvlan", "master": "eth1", "ipam": {"type": "host-local",
    "subnet": "192.0.2.0/24", "rangeStart": "192.0.2.10", "rangeEnd": "192.0.2.14"}'
network control '"type": "bridge", "bridge": "control0",
    "ipam": {"type": "host-local", "subnet": "10.2.0.0/24"}'
# No pod can have this one: the node has no eth7.
network backup '"type": "macvlan", "master": "eth7",
    "ipam": {"type": "host-local", "subnet": "198.51.100.0/24"}'
# pod NAMESPACE NAME NETWORKS: an object that asks for these.
pod() {
    cat >>objects.yaml <<END
---
apiVersion: v1
kind: Pod
metadata:
  name: $2
  namespace: $1
  annotations: {k8s.v1.cni.cncf.io/networks: "$3"}
spec: {nodeName: node-a}
END
}
pod shop web storage,control
pod shop cart control
pod shop db storage@data,control
pod shop mail storage
pod default probe ""
pod shop nightly backup
python3 -m multus.testing.apiserver --directory /etc/cni/multus/api --objects objects.yaml >url &
until [ -s url ]; do sleep 0.1; done

cat >/etc/cni/net.d/10-pods.conflist <<'END'
{"cniVersion": "1.1.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "cni0",
 "isDefaultGateway": true, "ipam": {"type": "host-local", "subnet": "10.1.0.0/27"}}]}
END
cat >/etc/cni/multus/daemon.json <<END
{"kubeconfig": "/etc/cni/multus/api/kubeconfig", "nodeName": "node-a", "logToStderr": false}
END
multus install --shim-only --kubeconfig "/etc/cni/multus/api/kubeconfig" >installed 2>&1
multus daemon >daemon.log 2>&1 &
until multus-shim ready >ready 2>&1; do sleep 0.1; done

# add ID NAMESPACE NAME: as the runtime starts a pod.
add() {
    [ -e "/run/netns/$3" ] || ip netns add "$3"
    CNI_COMMAND=ADD CNI_CONTAINERID=$1 CNI_NETNS=/run/netns/$3 CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin \
        CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=$2;K8S_POD_NAME=$3" /opt/cni/bin/multus <call >answer
}
python3 - >call <<'END'
import json
conflist = json.load(open("/etc/cni/net.d/00-multus.conflist"))
print(json.dumps(conflist["plugins"][0] | {k: conflist[k] for k in ("cniVersion", "name")}))
END
add 6f1c0a52b7d8 shop web
add 91be43d07c5f shop cart
add c07d5512e9aa shop db
add 3fa8c2d4416b shop mail
add 5b20e71fd3c9 default probe
add e8840b16a7f2 shop nightly || :
touch ready-for-pictures
