"""A cluster as its pods' annotations tell of it: nodes × networks, addresses, what is wrong.

Start at :mod:`multus.picture.cluster.model`; :mod:`multus.picture.cluster.reading` asks the API
server, :mod:`multus.picture.cluster.page` draws the page.
"""
