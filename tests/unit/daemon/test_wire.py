from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multus.daemon import wire
from multus.daemon.wire import Malformed, Message

_VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0="), min_size=1)


@given(
    st.builds(
        Message,
        kind=st.sampled_from(wire.KINDS),
        payload=st.binary(max_size=200),
        environ=st.dictionaries(_NAMES, _VALUES, max_size=5),
        status=st.integers(0, 65535),
        seconds=st.integers(0, 2**32 - 1).map(lambda each: each / 1000),
    )
)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert wire.decode(message.encode()) == message


def test_the_layout_is_the_one_that_the_c_shim_writes() -> None:
    message = Message(wire.CNI, b"{}", {"A": "b"}, seconds=1.5)
    assert message.encode() == (
        b"MULT\x01\x01\x00\x00\x00\x00\x00\x04\x00\x00\x00\x02\x00\x00\x05\xdcA=b\x00{}"
    )


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda rest: b"MULT\x01\x01" + rest))
def test_what_is_no_message_is_malformed_and_nothing_else(data: bytes) -> None:
    try:
        message = wire.decode(data)
    except Malformed:
        return
    assert len(message.encode()) <= len(data)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"HTTP" + b"\0" * 16, "MULT"),
        (b"MULT\x02" + b"\0" * 15, "version"),
        (b"MULT\x01\x03" + b"\0" * 14, "kind"),
        (b"MULT\x01\x01\0\0" + b"\0\x10\0\x01" + b"\0" * 8, "too large"),
        (b"MULT\x01\x01\0\0" + b"\0\0\0\0" + b"\0\x80\0\x01" + b"\0" * 4, "too large"),
    ],
)
def test_a_wrong_header_is_refused_before_anything_is_read(header: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        wire.length_of(header)
