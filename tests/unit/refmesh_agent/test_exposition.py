from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from refmesh.agent.exposition import Translation, Workload

OWN, IDENTITY = Workload("reviews-v1", "shop", "reviews", "v1"), "spiffe://cluster.local/ns/shop/sa/reviews"
PAGE = "spiffe://cluster.local/ns/front/sa/page"


def line(value: int = 1, **tags: str) -> str:
    known = {
        "reporter": "destination",
        "target": "reviews.shop.svc.cluster.local",
        "peer": "page;front;page;v1",
        "principal": PAGE,
        "response_flags": "-",
        "response_code": "200",
        "grpc_response_status": "-",
        **tags,
    }
    return "envoy_istio_requests_total{%s} %d" % (",".join(f'{k}="{v}"' for k, v in known.items()), value)  # noqa: UP031


def translated(*lines: str) -> list[str]:
    return list(Translation(OWN, IDENTITY).lines(lines))


def test_a_workload_cannot_speak_for_another_namespace() -> None:
    (found,) = translated(line(peer="admin;kube-system;admin;v1"))
    assert 'source_workload="unknown"' in found
    assert 'source_workload_namespace="front"' in found
    assert f'source_principal="{PAGE}"' in found


def test_what_strangers_say_ends_up_in_one_series() -> None:
    lines = [line(peer=f"x{number};y{number};;", value=number) for number in range(1, 5)]
    found = translated(*lines, "# TYPE next counter")
    assert len(found) == 2
    assert found[0].endswith(" 10")
    assert found[1] == "# TYPE next counter"


def test_a_bound_on_strangers_is_counted_not_silent() -> None:
    translation = Translation(OWN, IDENTITY)
    lines = [line(peer="!", principal=f"spiffe://cluster.local/ns/n{number}/sa/x") for number in range(2100)]
    assert len(list(translation.lines(lines))) == 2000
    assert translation.lost == 100


def test_grpc_is_told_by_its_status() -> None:
    (found,) = translated(line(grpc_response_status="14"))
    assert 'request_protocol="grpc"' in found
    assert 'grpc_response_status="14"' in found


def test_buckets_keep_their_bounds() -> None:
    head = line().partition(" ")[0][:-1].replace("requests_total", "request_bytes_bucket")
    found = translated(f'{head},le="0.5"}} 1', f'{head},le="+Inf"}} 2')
    assert [item[item.index("le=") :] for item in found] == ['le="0.5"} 1', 'le="+Inf"} 2']
    assert all(item.startswith('istio_request_bytes_bucket{reporter="destination",') for item in found)


def test_other_lines_pass() -> None:
    assert translated("envoy_server_live{} 1", "") == ["envoy_server_live{} 1", ""]
    assert translated("# TYPE envoy_istio_requests_total counter") == ["# TYPE istio_requests_total counter"]


def test_an_address_outside_the_cluster_is_no_service() -> None:
    (found,) = translated(line(reporter="source", target="PassthroughCluster", peer="-", principal="-"))
    assert 'destination_service="unknown",destination_service_name="PassthroughCluster"' in found


@given(st.text(alphabet=st.characters(exclude_characters="\n")))
def test_any_line_is_answered(text: str) -> None:
    translated(text, f"envoy_istio_{text}")


@given(st.text(max_size=80))
def test_a_peer_is_four_plain_names_or_nothing(text: str) -> None:
    found = Workload.parse(text)
    assert found is None or text == f"{found.name};{found.namespace};{found.app};{found.version}"
