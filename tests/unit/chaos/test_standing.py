from chaos.standing import standing, strays


def pod(name, uid="1", restarts=0, **more):
    told = [{"name": "echo", "restartCount": restarts}, {"name": "proxy", "restartCount": more.pop("crashes", 0)}]
    leaves = {"deletionTimestamp": "now"} if more.pop("leaves", False) else {}
    return {"metadata": {"name": name, "uid": uid, **leaves}, "status": {"containerStatuses": told, **more}}


BEFORE = standing([pod("echo-1"), pod("echo-2", restarts=3), pod("driver")])


def changed(*pods, victims=()):
    return strays(BEFORE, standing(pods), victims)


def test_pods_that_stayed_are_none():
    assert changed(pod("echo-1"), pod("echo-2", restarts=3), pod("driver"), pod("echo-3")) == ()


def test_what_became_of_the_others_is_named():
    assert changed(pod("echo-2", restarts=4), pod("driver", uid="2")) == (
        "driver was replaced",
        "echo-1 was taken away",
        "echo-2 was restarted",
    )


def test_an_evicted_pod_and_one_on_its_way_out_are_taken_away():
    found = changed(pod("echo-1", phase="Failed"), pod("echo-2", restarts=3, leaves=True), pod("driver"))
    assert found == ("echo-1 was taken away", "echo-2 was taken away")


def test_the_victim_is_the_experiments_own():
    assert changed(pod("echo-2", restarts=3), pod("driver"), pod("echo-3"), victims=("echo-1",)) == ()


def test_a_proxy_that_crashes_is_the_meshs():
    assert changed(pod("echo-1", crashes=1), pod("echo-2", restarts=3), pod("driver")) == ()
