from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def version(cluster):
    """The server's major version; the tests run on any from 10 on, and skip what it does not have."""
    with cluster.connect() as connection:
        return connection.info.server_version // 10000


@pytest.fixture
def slot(database):
    return f"s_{database.name}"
