"""The test kit for Multus and its plugins: network namespaces, delegates, a runtime.

Installing Multus registers the fixtures of ``multus.testing.plugin`` with pytest.  The other
modules do not need pytest, so scripts can use them too.
"""
