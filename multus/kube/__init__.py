"""The Kubernetes API: kubeconfig, client, watch, caches (extra ``kube``).

Nothing is imported here: a program that is started per call pays for this package only when a
pod is looked up.  Start at :mod:`multus.kube.kubeconfig` and :mod:`multus.kube.client`.
"""
