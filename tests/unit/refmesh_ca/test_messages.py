from __future__ import annotations

import contextlib

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from refmesh.ca import wire
from refmesh.ca.hints import Hint, Question
from refmesh.ca.messages import CertificateRequest, CertificateResponse


def real_classes():
    """The same messages for the protobuf runtime, which is the judge here."""
    file = descriptor_pb2.FileDescriptorProto(name="refmesh_test_ca.proto", package="istio.v1.auth", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    request = file.message_type.add(name="IstioCertificateRequest")
    request.field.add(name="csr", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    request.field.add(name="validity_duration", number=3, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    response = file.message_type.add(name="IstioCertificateResponse")
    response.field.add(name="cert_chain", number=1, type=field.TYPE_STRING, label=field.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return [
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"istio.v1.auth.{name}"))
        for name in ("IstioCertificateRequest", "IstioCertificateResponse")
    ]


REQUEST, RESPONSE = real_classes()


@given(st.text(), st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_requests_agree_with_protobuf(csr, validity):
    ours = CertificateRequest(csr=csr, validity_seconds=validity)
    theirs = REQUEST(csr=csr, validity_duration=validity)
    assert ours.encode() == theirs.SerializeToString(deterministic=True)
    assert CertificateRequest.decode(theirs.SerializeToString()) == ours


@given(st.lists(st.text()))
def test_responses_agree_with_protobuf(chain):
    ours = CertificateResponse(tuple(chain))
    theirs = RESPONSE(cert_chain=chain)
    assert ours.encode() == theirs.SerializeToString(deterministic=True)
    assert CertificateResponse.decode(theirs.SerializeToString()) == ours


@given(st.binary(max_size=400))
def test_any_bytes_are_parsed_or_refused_never_more(data):
    for parse in (CertificateRequest.decode, CertificateResponse.decode, Question.decode, Hint.decode):
        with contextlib.suppress(wire.Malformed):
            parse(data)


@given(st.text(), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_hints_and_their_questions_come_back_as_they_were_sent(node, known, spread):
    for sent in (Question(node, known), Hint(known, spread)):
        assert type(sent).decode(sent.encode()) == sent
