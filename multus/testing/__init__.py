"""The kit for testing Multus and plugins for it: network namespaces, delegates, a runtime.

Installing Multus makes the fixtures of ``multus.testing.plugin`` known to pytest; the modules below
them need no pytest and serve scripts as well.
"""
