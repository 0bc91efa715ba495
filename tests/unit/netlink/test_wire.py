from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multus.api.errors import InvalidConfig
from multus.netlink import Message, wire

KINDS = st.integers(0, 0x3FFF)


@given(st.lists(st.tuples(KINDS, st.binary(max_size=70)), max_size=20))
def test_attributes_come_back_as_they_were_written(pairs: list[tuple[int, bytes]]) -> None:
    body = b"HEAD" + b"".join(wire.attribute(kind, payload) for kind, payload in pairs)
    assert wire.attributes(body, 4) == pairs
    for kind in {0, *(kind for kind, _ in pairs)}:
        assert wire.first(body, 4, kind) == next((each for k, each in pairs if k == kind), None)
    nested = wire.nested(7 | wire.NLA_F_NESTED, body[4:])
    assert wire.attributes(wire.attributes(nested, 0)[0][1], 0) == pairs


@given(st.lists(st.tuples(st.integers(16, 0xFFFF), st.binary(max_size=70)), max_size=20))
def test_messages_come_back_as_they_were_written(pairs: list[tuple[int, bytes]]) -> None:
    datagram = b"".join(
        Message(kind, 0, body, "").encode(at) for at, (kind, body) in enumerate(pairs)
    )
    answers = list(wire.split(datagram))
    assert [(answer.kind, answer.body) for answer in answers] == pairs
    assert [answer.sequence for answer in answers] == list(range(len(pairs)))


@given(st.binary(max_size=200))
def test_garbage_is_read_without_an_error(garbage: bytes) -> None:
    assert sum(len(payload) for _, payload in wire.attributes(garbage, 0)) <= len(garbage)
    assert wire.first(garbage, 0, 7) == dict(reversed(wire.attributes(garbage, 0))).get(7)
    assert sum(len(answer.body) for answer in wire.split(garbage)) <= len(garbage)


def test_numbers_and_texts_come_back() -> None:
    assert wire.read_u32(wire.u32(1, 0xFFFFFFFE)[4:]) == 0xFFFFFFFE
    assert wire.read_i32((-95).to_bytes(4, "little", signed=True)) == -95
    assert wire.read_string(b"eth0\0\0\0") == "eth0"
    assert wire.be32(1, -4)[4:] == b"\xff\xff\xff\xfc"


def test_a_message_that_wants_no_acknowledgement_says_so() -> None:
    for message in (
        Message(16, 0, b"", "", acknowledged=False),
        Message(18, 0, b"", "", replies=True),
    ):
        assert int.from_bytes(message.encode(1)[6:8], "little") == wire.NLM_F_REQUEST


@pytest.mark.parametrize(
    ("encode", "value"),
    [
        *((encode, -1) for encode in (wire.u8, wire.u16, wire.u32)),
        (wire.u8, 1 << 8),
        (wire.u16, 1 << 16),
        (wire.u32, 1 << 32),
    ],
)
def test_a_number_that_does_not_fit_is_an_error_of_the_configuration(
    encode: Callable[[int, int, str], bytes], value: int
) -> None:
    with pytest.raises(InvalidConfig, match=f"the colour is {value}, which does not fit"):
        encode(1, value, "the colour")


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\0"])
def test_a_text_that_the_kernel_would_read_otherwise_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfig, match="cannot be a name"):
        wire.string(3, text)


@pytest.mark.parametrize("encode", [wire.attribute, wire.nested])
def test_so_is_a_payload_that_is_too_long(encode: Callable[[int, bytes], bytes]) -> None:
    with pytest.raises(InvalidConfig, match="length"):
        encode(1, bytes(1 << 16))
