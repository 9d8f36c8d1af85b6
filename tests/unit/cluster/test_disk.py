from cluster.disk import free_space


def test_free_space_is_told_for_a_folder_that_isn_t_there_yet(tmp_path):
    assert free_space(tmp_path / "new/folder") > 0
