import pytest

from cluster.errors import StartupError
from cluster.ray_cluster import connected
from cluster.settings import Settings


@pytest.mark.parametrize("known", [{}, {"redis_url": "redis://10.0.0.9"}, {"cache_url": "redis://10.0.0.9"}])
def test_a_cluster_s_server_needs_redises_that_other_nodes_reach(tmp_path, known):
    settings = Settings(home=tmp_path, ray_address="10.0.0.5:6379", **known)
    with (
        pytest.raises(StartupError, match="set MEDIARAY_REDIS_URL and MEDIARAY_CACHE_URL"),
        connected(settings, tmp_path),
    ):
        pass
