"""The node's own client certificate (``perNodeCertificate``): requested, stored, renewed.

``wanted`` says what is wanted and where it is stored, ``signing`` has the cryptography, ``renewal``
asks the certificates API of Kubernetes.  The API process of the daemon renews the certificate; what
uses it reads the file again when it changes.

User, group and usages are those of the Go Multus, so that its cert-approver approves the requests.
"""
