import pytest

from cluster.errors import StartupError
from cluster.ray_cluster import check_reachable
from cluster.settings import Settings

JOBS, CACHE = {"redis_url": "redis://10.0.0.9"}, {"cache_url": "redis://10.0.0.9"}


@pytest.mark.parametrize("known", [{}, JOBS, CACHE])
def test_several_nodes_need_redises_that_all_of_them_reach(tmp_path, known):
    with pytest.raises(StartupError, match="set MEDIARAY_REDIS_URL and MEDIARAY_CACHE_URL"):
        check_reachable(Settings(home=tmp_path, **known), nodes=2)


def test_one_node_does_with_private_ones_and_several_with_those_that_are_named(tmp_path):
    check_reachable(Settings(home=tmp_path), nodes=1)
    check_reachable(Settings(home=tmp_path, **JOBS, **CACHE), nodes=2)
