import pytest
from h2.exceptions import FrameTooLargeError
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workloads.pod.frames import Frames


def frame(payload, kind=0):
    return len(payload).to_bytes(3, "big") + bytes([kind]) + b"\0" * 5 + payload


def goaway(last):
    return frame(last.to_bytes(4, "big") + b"\0\0\0\0" + b"bye", kind=7)


def fed(frames, stream, step):
    return b"".join(frames.feed(stream[i : i + step]) for i in range(0, len(stream), step))


@given(
    st.lists(st.binary(max_size=60).map(frame) | st.just(goaway(5)), max_size=6), st.integers(1, 80), st.integers(0, 24)
)
def test_everything_but_goaway_passes_whatever_the_pieces(sent, step, skip):
    frames = Frames(skip)
    passed = fed(frames, b"P" * skip + b"".join(sent), step)
    assert passed == b"P" * skip + b"".join(one for one in sent if one != goaway(5))
    assert frames.last_stream == (5 if goaway(5) in sent else None)


@given(st.integers(1, 10))
def test_an_overlong_frame_is_refused_at_its_header(step):
    assert fed(Frames(), frame(b"x" * 16384), step) == frame(b"x" * 16384)
    with pytest.raises(FrameTooLargeError):
        fed(Frames(), frame(b"x" * 16385)[:9], step)


def test_a_goaway_too_short_to_be_one_is_left_to_h2():
    assert Frames().feed(frame(b"1234567", kind=7)) == frame(b"1234567", kind=7)
