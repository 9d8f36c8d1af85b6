from cluster.node_classes import NodeClass, classes_of

GIB = 1 << 30


def node(name: str, cpus: float, memory_gib: int = 8, *, alive: bool = True, **more: float) -> dict:
    resources = {"CPU": cpus, "memory": float(memory_gib * GIB), **more} if cpus else {"memory": 1.0, **more}
    return {"NodeID": name, "Alive": alive, "Resources": resources}


def test_nodes_of_as_many_cpus_are_a_class_and_what_is_free_of_them_is_added_up():
    nodes = [node("a", 8, 30), node("b", 8, 31)]
    free = {"a": {"CPU": 3.0, "memory": 2.0 * GIB}, "b": {"CPU": 8.0, "memory": 31.0 * GIB}}
    assert classes_of(nodes, free) == (NodeClass(2, 8, 0, None, 11.0, 0.0, 61 * GIB, 33 * GIB),)


def test_a_machine_with_gpus_is_a_class_of_its_own_and_tells_their_kind():
    gpus = {"GPU": 2.0, "accelerator_type:T4": 1.0}
    plain, with_gpus = classes_of([node("a", 8), node("b", 8, **gpus)], {"b": {"CPU": 8.0, "GPU": 2.0}})[::-1]
    assert (plain.gpus_each, plain.gpu_type) == (0, None)
    assert (with_gpus.gpus_each, with_gpus.gpu_type, with_gpus.free_gpus) == (2, "T4", 2.0)


def test_the_class_with_most_nodes_is_first():
    nodes = [node("a", 64), node("b", 4), node("c", 4)]
    assert [(each.nodes, each.cpus_each) for each in classes_of(nodes, {})] == [(2, 4), (1, 64)]


def test_heads_without_cpus_and_nodes_that_are_gone_are_none():
    assert classes_of([node("head", 0), node("gone", 8, alive=False)], {"gone": {"CPU": 8.0}}) == ()


def test_of_a_node_that_is_full_nothing_is_free():
    (found,) = classes_of([node("a", 2)], {"a": {}})
    assert (found.free_cpus, found.free_memory_bytes) == (0.0, 0)
