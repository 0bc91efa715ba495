from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multus.daemon import wire
from multus.daemon.wire import Malformed, Message, Received

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
def test_a_message_is_decoded_as_it_was_encoded(message: Message) -> None:
    assert wire.decode(message.encode()) == message


def test_the_layout_is_the_one_that_the_c_shim_writes() -> None:
    message = Message(wire.CNI, b"{}", {"A": "b"}, seconds=1.5)
    assert message.encode() == (
        b"MULT\x01\x01\x00\x00\x00\x00\x00\x04\x00\x00\x00\x02\x00\x00\x05\xdcA=b\x00{}"
    )


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda rest: b"MULT\x01\x01" + rest))
def test_other_data_raises_malformed_only(data: bytes) -> None:
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


@given(
    st.dictionaries(_NAMES, _VALUES, max_size=5),
    st.binary(max_size=50),
    st.sampled_from(wire.KINDS),
)
def test_a_received_message_has_the_fields_that_were_sent(
    environ: dict[str, str], payload: bytes, kind: int
) -> None:
    sent = Message(kind, payload, environ, seconds=1.25).encode()
    found = Received(sent)
    assert (found.raw, found.kind, found.payload, found.seconds) == (sent, kind, payload, 1.25)
    for name, value in environ.items():
        assert found.variable(name.encode()) == value
    assert found.variable(b"not set") == environ.get("not set", "")


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        (b"", ""),
        (b"CNI_COMMAND=ADD\0", "ADD"),
        (b"CNI_COMMAND=\0", ""),
        (b"XCNI_COMMAND=DEL\0A=CNI_COMMAND=DEL\0", ""),
        (b"CNI_COMMAND\0CNI_COMMAND2=x\0", ""),
        (b"CNI_COMMAND=ADD\0CNI_COMMAND=DEL\0", "DEL"),
        (b"CNI_COMMAND=\xff\0", "\udcff"),
    ],
)
def test_a_variable_is_found_by_its_whole_name_and_the_last_one_is_used(
    environment: bytes, found: str
) -> None:
    """The same as ``decode``, so that the supervisor and a worker never differ."""
    data = b"MULT\1\1\0\0%b\0\0\0\2\0\0\0\0%b{}" % (
        len(environment).to_bytes(4, "big"),
        environment,
    )
    assert Received(data).variable(b"CNI_COMMAND") == found
    assert wire.decode(data).environ.get("CNI_COMMAND", "") == found


def test_an_environment_without_its_end_is_malformed() -> None:
    data = b"MULT\1\1\0\0\0\0\0\3\0\0\0\0\0\0\0\0A=b"
    with pytest.raises(Malformed, match="NUL"):
        Received(data)


@pytest.mark.parametrize("data", [b"", b"MULT\1\1", b"MULT\1\1" + bytes(13)])
def test_less_than_a_header_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        Received(data)
