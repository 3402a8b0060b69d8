import asyncio
import base64
import hashlib
import string
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth import Holder, Key, Kind, User
from proxy.auth.ollama_identity import (
    SAME_FOR_EVERYBODY,
    Signatures,
    Signed,
    genuine,
    key_id_of,
    public_key,
    read,
    signed_bytes,
    timestamp,
)
from proxy.auth.replays import MemoryReplays
from proxy.errors import AuthUnavailable, StorageFailed, Unauthenticated, Why
from proxy.vocabulary import Call
from tests.fakes.clock import FakeClock
from tests.fakes.ollama_client import OllamaClient, new_key_file

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
TS = int(NOW.timestamp())
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
"""RFC 8032 §7.1, the first."""
HEAD = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
MOST = 120.0
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493


def word(wire: bytes) -> str:
    return base64.b64encode(wire).decode()


def wire_of(*words: bytes) -> bytes:
    return b"".join(len(one).to_bytes(4, "big") + one for one in words)


LINE = f"ssh-ed25519 {word(HEAD + PUBLIC)}"


@pytest.fixture(scope="session")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_key_file(tmp_path_factory.mktemp("ollama"))


@pytest.fixture(scope="session")
def client(key_file: Path) -> OllamaClient:
    return OllamaClient(key_file)


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> OllamaClient:
    return OllamaClient(new_key_file(tmp_path_factory.mktemp("stranger")))


# What an owner pastes.


@pytest.mark.parametrize(
    "line",
    [
        LINE,
        f"{LINE} alice@box",
        f"{LINE} a comment of words\n",
        f"  {LINE}\r\n",
        LINE.split()[1],
        LINE.replace(" ", "\t"),
    ],
)
def test_a_public_key_is_read_from_its_line_or_its_middle_field(line: str) -> None:
    assert PUBLIC == public_key(line)


def test_a_public_key_is_read_as_openssh_writes_it(key_file: Path, client: OllamaClient) -> None:
    told = subprocess.run(["ssh-keygen", "-y", "-f", key_file], capture_output=True, text=True, check=True)

    assert client.public_key == public_key(told.stdout)
    assert client.public_key == public_key(key_file.with_suffix(".pub").read_text())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "is one line"),
        ("\n \n", "is one line"),
        (f"{LINE}\n{LINE}", "is one line"),
        ("ssh-ed25519 " + "A" * 30_000, "is one line"),
        (f"{LINE} ä", "is one line"),
        ("ssh-ed25519", "is missing"),
        ("SSH-ED25519 AAAA", "nothing may stand before"),
        (f'from="10.0.0.0/8" {LINE}', "nothing may stand before"),
        (f"{LINE.split()[1]} alice@box", "nothing may stand before"),
        ("alice", "is base64"),
        (LINE.removesuffix("a"), "is base64"),
        (LINE.replace("AAAA", "AA-_"), "is base64"),
        (f"{LINE}=", "is base64"),
        (f"ssh-ed25519 {word(b'')}x", "is base64"),
        (f"ssh-ed25519 {word(HEAD + PUBLIC[:31])}", "some of it is missing"),
        (f"ssh-ed25519 {word(HEAD + PUBLIC + b'x')}", "something more"),
        (f"ssh-ed25519 {word(HEAD[:-1] + b'!' + PUBLIC)}", "some of it is missing"),
        (f"ssh-ed25519 {word(wire_of(b'ssh-ed25519', PUBLIC[:31]))}", "some of it is missing"),
        (f"ssh-ed25519 {word(b'x' * 51)}", "some of it is missing"),
        (word(PUBLIC), "some of it is missing"),
        (f"ssh-rsa {word(wire_of(b'ssh-rsa', b'e', b'n' * 384))} bob", "ssh-rsa keys do not sign for Ollama"),
        (f"ssh-ed25519 {word(wire_of(b'ssh-rsa', b'e', b'n' * 384))}", "ssh-rsa keys do not sign for Ollama"),
        (word(wire_of(b"ecdsa-sha2-nistp256", b"nistp256", b"q")), "ecdsa-sha2-nistp256 keys do not sign"),
        ("sk-ssh-ed25519@openssh.com AAAA", "sk-ssh-ed25519@openssh.com keys do not sign"),
        (f"ssh-ed25519-cert-v01@openssh.com {word(b'x')}", "ssh-ed25519-cert-v01@openssh.com keys do not sign"),
    ],
)
def test_what_is_no_public_key_is_refused_with_the_reason(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        public_key(line)


def test_a_private_key_is_refused_as_such_and_never_repeated(key_file: Path) -> None:
    whole = key_file.read_text()
    for pasted in (
        whole,
        whole.replace("\n", " "),
        "".join(whole.splitlines()[1:-1]),
        "-----BEGIN EC PRIVATE KEY-----",
    ):
        with pytest.raises(ValueError, match="This is a private key") as told:
            public_key(pasted)

        assert not any(line in str(told.value) for line in whole.splitlines())


def small_orders() -> list[bytes]:
    """Every way to write the eight points of small order, and those that only read like them."""
    d = -121665 * pow(121666, -1, P) % P
    root = pow(2, (P - 1) // 4, P)
    halves = []
    for sign in (1, -1):  # d·y⁴ + 2·y² - 1 = 0
        square = (-1 + sign * square_root(1 + d, root)) * pow(d, -1, P) % P
        if pow(square, (P - 1) // 2, P) == 1:
            y = square_root(square, root)
            halves += [y, P - y]
    assert 2 == len(halves)
    numbers = [0, 1, P - 1, *halves, P, P + 1]
    return [(y | sign << 255).to_bytes(32, "little") for y in numbers for sign in (0, 1)]


def square_root(square: int, root_of_minus_one: int) -> int:
    found = pow(square, (P + 3) // 8, P)
    if found * found % P != square % P:
        found = found * root_of_minus_one % P
    assert found * found % P == square % P
    return found


def test_the_points_of_small_order_are_those_that_everybody_lists() -> None:
    told = {one.hex() for one in small_orders()}

    assert "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05" in told
    assert "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a" in told


@pytest.mark.parametrize("key", small_orders(), ids=bytes.hex)
def test_a_key_that_anybody_could_sign_for_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match=r"anybody could sign for it|no such point"):
        public_key(word(HEAD + key))


def test_that_is_no_idle_fear() -> None:
    neutral = (1).to_bytes(32, "little")
    for text in (b"one", b"another"):
        Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), text)  # It raises nothing.

    with pytest.raises(ValueError, match="anybody could sign for it"):
        public_key(word(HEAD + neutral))


def reason(line: str) -> str:
    """Why it is refused; empty where it is not."""
    try:
        key = public_key(line)
    except ValueError as error:
        return str(error)
    assert 32 == len(key)
    return ""


def test_about_half_of_all_numbers_are_no_points_and_are_refused() -> None:
    told = [reason(word(HEAD + number.to_bytes(32, "little"))) for number in range(2, 202)]
    no_point = "This is no ssh-ed25519 key: there is no such point on its curve."

    assert {"", no_point} == set(told)
    assert 60 < told.count("") < 140
    assert no_point == reason(word(HEAD + b"\xff" * 32))


@given(st.binary(min_size=32, max_size=32))
def test_every_real_key_is_taken(seed: bytes) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()

    assert key == public_key(word(HEAD + key))


@given(st.one_of(st.text(), st.binary(max_size=80).map(word), st.binary(max_size=60).map(lambda raw: word(HEAD + raw))))
def test_whatever_is_pasted_there_is_a_key_or_a_reason(line: str) -> None:
    told = reason(line)

    assert not told or told.endswith(".")


def test_the_id_of_an_identity_is_that_of_its_key_alone() -> None:
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    number = int(hashlib.sha256(PUBLIC).hexdigest(), 16)

    assert "ArCGYY40a5aD" == key_id_of(PUBLIC)
    assert number % 62**12 == sum(digits.index(one) * 62**place for place, one in enumerate("ArCGYY40a5aD"[::-1]))


# What a request says.

GOOD = f"{word(HEAD + PUBLIC)}:{word(bytes(range(64)))}"


def test_the_key_and_the_signature_are_read() -> None:
    assert Signed(PUBLIC, bytes(range(64))) == read(GOOD)


def test_a_signature_is_not_in_a_repr() -> None:
    assert "signature" not in repr(read(GOOD))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a:b",
        GOOD + "\n",
        " " + GOOD,
        GOOD + " ",
        GOOD + "=",
        GOOD.removesuffix("="),
        GOOD.replace(":", "::"),
        GOOD.replace(":", " "),
        GOOD.replace("=", "A"),
        "Bearer " + GOOD,
        f"ssh-ed25519 {GOOD}",
        f"{word(HEAD + PUBLIC + b'xyz')}:{word(bytes(64))}",
        f"{word(HEAD + PUBLIC)}:{word(bytes(63))}",
        f"{word(HEAD + PUBLIC)}:{word(bytes(65))}",
        f"{word(HEAD + PUBLIC)}:{word(bytes(64)).replace('A==', 'B==')}",  # The same bytes, written otherwise.
        f"{word(b'x' * 51)}:{word(bytes(64))}",
        f"{word(HEAD.replace(b'ssh', b'SSH') + PUBLIC)}:{word(bytes(64))}",
        GOOD.replace("A", "\uff21"),
        GOOD[:-3] + "\udcff==",
        GOOD[:40] + "\x00" + GOOD[41:],
        GOOD.replace("+", "-").replace("/", "_").replace("8", "-"),
        "A" * 8192,
    ],
)
def test_what_is_not_exactly_of_that_form_is_nothing(text: str) -> None:
    assert read(text) is None


@given(st.text())
def test_whatever_is_said_reading_it_does_no_harm(text: str) -> None:
    assert read(text) is None or len(text) == 157


@pytest.mark.parametrize(
    ("query", "ts"),
    [
        ("ts=1772366400", 1772366400),
        ("ts=0", 0),
        ("ts=999999999999", 999_999_999_999),
        ("beta=true&ts=17&x", 17),
        ("ts=17&TS=18&tss=19&t=20", 17),
        ("&ts=17&", 17),
        ("", None),
        ("ts", None),
        ("ts=", None),
        ("ts=1&ts=1", None),
        ("ts=1&ts=2", None),
        ("ts=1&ts", None),
        ("ts=1&%74s=1", None),
        ("%74s=1", None),
        ("ts=%31", None),
        ("ts=01", None),
        ("ts=-1", None),
        ("ts=+1", None),
        ("ts=1.0", None),
        ("ts=1e3", None),
        ("ts=1_0", None),
        ("ts= 1", None),
        ("ts=1\n", None),
        ("ts=1;", None),
        ("ts=1000000000000", None),
        ("ts=\u0661", None),
        ("x;ts=1", None),
        ("?ts=1", None),
    ],
)
def test_the_time_is_the_one_that_is_said_plainly(query: str, ts: int | None) -> None:
    assert ts == timestamp(query)


@given(st.text())
def test_whatever_the_query_says_reading_it_does_no_harm(query: str) -> None:
    assert timestamp(query) is None or "ts=" in query


def test_what_is_signed_is_the_method_the_path_and_the_time() -> None:
    assert b"POST,/api/chat?ts=1772366400" == signed_bytes("POST", "/api/chat", 1_772_366_400)
    assert b"GET,/\xed\xb3\xbf?ts=1" == signed_bytes("GET", "/\udcff", 1)


def test_a_signature_is_good_for_what_was_signed_and_for_nothing_else(client: OllamaClient) -> None:
    signed = read(client.authorization("POST", "/api/chat", TS))
    assert signed is not None

    assert genuine(signed, "POST", "/api/chat", TS)

    others = [("GET", "/api/chat", TS), ("POST", "/api/generate", TS), ("POST", "/api/chat", TS + 1)]
    others += [("post", "/api/chat", TS), ("POST", "/api/chat/", TS), ("POST", "/api/%63hat", TS), ("POST", "", TS)]

    assert not any(genuine(signed, *other) for other in others)


@pytest.mark.parametrize("key", [bytes(32), b"\xff" * 32, b"\x02" + bytes(31)], ids=["zeros", "ones", "no point"])
def test_a_key_that_is_no_point_signs_nothing(key: bytes) -> None:
    assert not genuine(Signed(key, b"\x05" * 64), "POST", "/api/chat", TS)


def test_a_signature_by_a_larger_number_that_would_do_as_well_is_not_good(client: OllamaClient) -> None:
    signed = read(client.authorization("POST", "/api/chat", TS))
    assert signed is not None
    s = int.from_bytes(signed.signature[32:], "little") + ORDER
    other = replace(signed, signature=signed.signature[:32] + s.to_bytes(32, "little"))

    assert not genuine(other, "POST", "/api/chat", TS)


# Who asks.


def holder(key: bytes, **changes: object) -> Holder:
    kept = Key(key_id_of(key), "alice", "lab", NOW, kind=Kind.IDENTITY, digest=key)
    return Holder(replace(kept, **changes))  # type: ignore[arg-type]


class Scene:
    """One gate's ``Signatures``, its clocks, and who is on record."""

    def __init__(self, *holders: Holder, most: int = 1000, since: float = 0.0) -> None:
        self.record = {one.key.id: one for one in holders}
        self.at = NOW
        self.clock = FakeClock()
        self.memory = MemoryReplays(self.clock, most=most)
        self.asked: list[str] = []
        self.signatures = Signatures(self._find, self.memory, now=lambda: self.at, most_seconds=MOST, since=since)

    async def _find(self, key_id: str) -> Holder | None:
        self.asked.append(key_id)
        return self.record.get(key_id)

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.clock.seconds += seconds

    async def ask(
        self,
        client: OllamaClient,
        method: str = "POST",
        path: str = "/api/chat",
        ts: int = TS,
        *,
        query: str | None = None,
        peer: str = "192.0.2.1",
        text: str | None = None,
    ) -> Holder:
        said = f"ts={ts}" if query is None else query
        call = Call("c1", self.at, method, path, peer=peer, query=said)
        return await self.signatures.holder(call, client.authorization(method, path, ts) if text is None else text)

    async def why(self, *words: object, **more: object) -> Why:
        with pytest.raises(Unauthenticated) as refused:
            await self.ask(*words, **more)  # type: ignore[arg-type]
        return refused.value.why


@pytest.fixture
def scene(client: OllamaClient) -> Scene:
    return Scene(holder(client.public_key))


async def test_who_signs_with_the_key_on_record_is_its_holder(scene: Scene, client: OllamaClient) -> None:
    assert "alice" == (await scene.ask(client)).key.user


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", "/"),
        ("GET", "/api/tags"),
        ("GET", "/api/ps"),
        ("GET", "/api/version"),
        ("POST", "/api/show"),
        ("POST", "/api/generate"),
        ("POST", "/api/chat"),
        ("DELETE", "/api/delete"),
        ("HEAD", f"/api/blobs/sha256:{'0' * 64}"),
    ],
)
async def test_every_request_of_the_command_line_is_known(
    scene: Scene, client: OllamaClient, method: str, path: str
) -> None:
    assert "alice" == (await scene.ask(client, method, path)).key.user


async def test_other_parameters_may_stand_beside_the_time(scene: Scene, client: OllamaClient) -> None:
    assert "alice" == (await scene.ask(client, query=f"beta=true&ts={TS}")).key.user


@pytest.mark.parametrize(
    ("query", "text"), [("", None), (f"ts={TS}&ts={TS}", None), (None, ""), (None, "x:y"), (None, GOOD + "=")]
)
async def test_what_is_malformed_is_not_even_looked_up(
    scene: Scene, client: OllamaClient, query: str | None, text: str | None
) -> None:
    assert Why.MALFORMED == await scene.why(client, query=query, text=text)
    assert [] == scene.asked


@pytest.mark.parametrize("seconds", [-3600, -121, -120, 121, 122, 10**9])
async def test_a_signature_of_another_time_is_refused(scene: Scene, client: OllamaClient, seconds: int) -> None:
    assert Why.TOO_OLD == await scene.why(client, ts=TS + seconds)


@pytest.mark.parametrize("seconds", [-119, -1, 1, 120])
async def test_clocks_may_differ_by_so_much_either_way(scene: Scene, client: OllamaClient, seconds: int) -> None:
    assert "alice" == (await scene.ask(client, ts=TS + seconds)).key.user


async def test_a_key_that_is_not_on_record_is_unknown(scene: Scene, stranger: OllamaClient) -> None:
    assert Why.UNKNOWN == await scene.why(stranger)
    assert [key_id_of(stranger.public_key)] == scene.asked


async def test_a_strangers_signature_that_is_wrong_besides_is_told_in_no_other_way(
    scene: Scene, stranger: OllamaClient
) -> None:
    assert Why.UNKNOWN == await scene.why(stranger, text=stranger.authorization("GET", "/", TS))


@pytest.mark.parametrize("changes", [{"kind": Kind.API_KEY}, {"digest": b""}, {"digest": bytes(32)}])
async def test_a_record_that_is_no_identity_of_exactly_this_key_is_unknown(
    client: OllamaClient, changes: dict[str, object]
) -> None:
    scene = Scene(holder(client.public_key, **changes))

    assert Why.UNKNOWN == await scene.why(client)


async def test_a_signature_for_something_else_is_wrong(
    scene: Scene, client: OllamaClient, stranger: OllamaClient
) -> None:
    of_another_route = client.authorization("GET", "/api/tags", TS)
    of_another_time = client.authorization("POST", "/api/chat", TS - 1)
    of_somebody_else = (
        client.authorization("POST", "/api/chat", TS).partition(":")[0]
        + ":"
        + stranger.authorization("POST", "/api/chat", TS).partition(":")[2]
    )

    assert [Why.WRONG_SIGNATURE] * 3 == [
        await scene.why(client, text=text) for text in (of_another_route, of_another_time, of_somebody_else)
    ]


async def test_what_is_wrong_is_not_remembered(scene: Scene, client: OllamaClient, stranger: OllamaClient) -> None:
    await scene.why(client, text=client.authorization("GET", "/api/tags", TS))
    await scene.why(stranger)
    await scene.why(client, ts=TS - 500)

    assert 0 == len(scene.memory)
    assert "alice" == (await scene.ask(client)).key.user


async def test_to_the_caller_it_is_always_the_same(scene: Scene, client: OllamaClient, stranger: OllamaClient) -> None:
    await scene.ask(client)
    told = set()
    for words in ({}, {"ts": 5}, {"text": "x:y"}, {"text": client.authorization("GET", "/", TS)}):
        for who in (client, stranger):
            with pytest.raises(Unauthenticated) as refused:
                await scene.ask(who, **words)
            told.add((refused.value.status, refused.value.code, refused.value.message))

    assert 1 == len(told)


async def test_a_request_passes_once_within_the_time_in_which_it_is_good(scene: Scene, client: OllamaClient) -> None:
    await scene.ask(client, ts=TS + 120)
    told = []
    for _ in range(23):
        scene.move(10)
        told.append(await scene.why(client, ts=TS + 120))
    scene.move(10)

    assert [Why.REPLAYED] * 23 == told
    assert Why.TOO_OLD == await scene.why(client, ts=TS + 120)


async def test_it_is_still_known_when_the_clock_on_the_wall_is_set_back(scene: Scene, client: OllamaClient) -> None:
    await scene.ask(client, ts=TS - 119)
    scene.move(100)
    scene.at -= timedelta(seconds=101)

    assert Why.REPLAYED == await scene.why(client, ts=TS - 119)


async def test_what_was_forgotten_is_not_taken_again_when_the_clock_is_set_back_by_much(
    scene: Scene, client: OllamaClient
) -> None:
    await scene.ask(client)
    for _ in range(60):
        scene.move(60)
        await scene.ask(client, ts=int(scene.at.timestamp()))
    scene.at -= timedelta(hours=1)

    assert Why.TOO_OLD == await scene.why(client)
    scene.at += timedelta(hours=1)
    await scene.ask(client, ts=int(scene.at.timestamp()) + 1)


async def test_what_was_forgotten_a_moment_ago_is_not_taken_again_when_the_clock_is_set_back(
    scene: Scene, client: OllamaClient
) -> None:
    seconds = 2 * int(MOST) + 1
    await scene.ask(client)
    scene.move(seconds)
    await scene.ask(client, ts=TS + seconds)
    scene.at -= timedelta(seconds=seconds)

    assert Why.TOO_OLD == await scene.why(client)


async def test_a_clock_that_was_fast_and_is_set_right_shuts_out_nobody_whose_own_was_right(
    scene: Scene, client: OllamaClient
) -> None:
    await scene.ask(client)
    scene.at += timedelta(hours=1)

    assert Why.TOO_OLD == await scene.why(client, ts=TS + 1)
    scene.at -= timedelta(hours=1)
    await scene.ask(client, ts=TS + 2)


@pytest.mark.parametrize("query", [f"ts={TS}", f"ts={TS}&x=1", f"x&ts={TS}"])
async def test_neither_another_query_nor_another_address_makes_it_new(
    scene: Scene, client: OllamaClient, query: str
) -> None:
    await scene.ask(client)

    assert Why.REPLAYED == await scene.why(client, query=query)
    assert Why.REPLAYED == await scene.why(client, query=query, peer="192.0.2.2")


def scalar(seed: bytes) -> int:
    """The secret number that RFC 8032 §5.1.5 makes of a private key; its public key is so many times the base point."""
    number = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    return number & ~7 & (2**255 - 1) | 2**254


def signed_otherwise(seed: bytes, text: bytes) -> str:
    """A genuine signature with another nonce than the usual one: whoever has the key can make as many as they like."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    nonce = b"any other nonce".ljust(32)
    r = Ed25519PrivateKey.from_private_bytes(nonce).public_key().public_bytes_raw()
    k = int.from_bytes(hashlib.sha512(r + public + text).digest(), "little")
    s = (scalar(nonce) + k * scalar(seed)) % ORDER
    return f"{word(HEAD + public)}:{word(r + s.to_bytes(32, 'little'))}"


async def test_what_counts_is_what_was_signed_and_not_the_bytes_of_the_signature(tmp_path: Path) -> None:
    client = OllamaClient(new_key_file(tmp_path, SEED))
    scene = Scene(holder(PUBLIC))
    usual = client.authorization("POST", "/api/chat", TS)
    other = signed_otherwise(SEED, signed_bytes("POST", "/api/chat", TS))
    signed = read(other)

    assert signed is not None
    assert genuine(signed, "POST", "/api/chat", TS)
    assert usual != other

    await scene.ask(client, text=usual)

    assert Why.REPLAYED == await scene.why(client, text=other)


async def test_requests_that_differ_in_route_or_second_are_not_the_same(scene: Scene, client: OllamaClient) -> None:
    for method, path, ts in (
        ("POST", "/api/chat", TS),
        ("POST", "/api/chat", TS + 1),
        ("POST", "/api/generate", TS),
        ("GET", "/api/chat", TS),
    ):
        assert "alice" == (await scene.ask(client, method, path, ts)).key.user


async def test_two_identities_may_ask_the_same_in_the_same_second(client: OllamaClient, stranger: OllamaClient) -> None:
    scene = Scene(holder(client.public_key), holder(stranger.public_key))

    assert "alice" == (await scene.ask(client)).key.user
    assert "alice" == (await scene.ask(stranger)).key.user


@pytest.mark.parametrize(("method", "path"), sorted(SAME_FOR_EVERYBODY))
async def test_what_everybody_gets_alike_may_be_asked_again_and_is_not_remembered(
    scene: Scene, client: OllamaClient, method: str, path: str
) -> None:
    for _ in range(3):
        await scene.ask(client, method, path)

    assert 0 == len(scene.memory)


async def test_a_model_is_shown_twice_in_one_second_as_run_asks_for_it(scene: Scene, client: OllamaClient) -> None:
    await scene.ask(client, "POST", "/api/show")
    scene.move(0.05)
    await scene.ask(client, "POST", "/api/show")

    assert [Why.REPLAYED] * 3 == [await scene.why(client, "POST", "/api/show") for _ in range(3)]


async def test_the_second_time_is_not_for_another_address_which_ends_it(scene: Scene, client: OllamaClient) -> None:
    await scene.ask(client, "POST", "/api/show")

    assert Why.REPLAYED == await scene.why(client, "POST", "/api/show", peer="192.0.2.2")
    assert Why.REPLAYED == await scene.why(client, "POST", "/api/show", peer="192.0.2.2")
    assert Why.REPLAYED == await scene.why(client, "POST", "/api/show")


async def test_the_second_time_is_not_for_later(scene: Scene, client: OllamaClient) -> None:
    await scene.ask(client, "POST", "/api/show")
    scene.move(2)

    assert [Why.REPLAYED] * 3 == [await scene.why(client, "POST", "/api/show") for _ in range(3)]


async def test_no_other_route_has_a_second_time(scene: Scene, client: OllamaClient) -> None:
    for method, path in (("GET", "/api/tags"), ("GET", "/api/ps"), ("POST", "/api/generate"), ("GET", "/api/show")):
        await scene.ask(client, method, path)

        assert Why.REPLAYED == await scene.why(client, method, path)


async def test_a_gate_that_has_just_begun_takes_nothing_that_another_may_have_seen(client: OllamaClient) -> None:
    scene = Scene(holder(client.public_key), since=NOW.timestamp())

    assert Why.TOO_OLD == await scene.why(client, ts=TS - 1)
    assert "alice" == (await scene.ask(client, ts=TS)).key.user


@pytest.mark.parametrize("changes", [{"suspended_at": NOW}, {"revoked_at": NOW}, {"expires_at": NOW}])
async def test_of_who_is_let_in_no_more_nothing_is_remembered(client: OllamaClient, changes: dict[str, object]) -> None:
    scene = Scene(holder(client.public_key, **changes))
    for _ in range(2):
        found = await scene.ask(client)

        assert found.refused(NOW) is not None
    assert 0 == len(scene.memory)


async def test_nor_of_whose_user_is_suspended(client: OllamaClient) -> None:
    suspended = replace(holder(client.public_key), user=User("alice", NOW, suspended_at=NOW))
    scene = Scene(suspended)

    assert Why.USER_SUSPENDED == (await scene.ask(client)).refused(NOW)
    assert 0 == len(scene.memory)


async def test_where_nothing_more_can_be_remembered_nobody_is_taken(client: OllamaClient) -> None:
    scene = Scene(holder(client.public_key), most=1)
    await scene.ask(client)
    with pytest.raises(AuthUnavailable):
        await scene.ask(client, "POST", "/api/generate")


async def test_where_nobody_can_be_looked_up_that_is_what_is_told(client: OllamaClient) -> None:
    async def find(key_id: str) -> Holder | None:
        raise StorageFailed

    signatures = Signatures(find, MemoryReplays(FakeClock()), now=lambda: NOW, most_seconds=MOST)
    call = Call("c1", NOW, "POST", "/api/chat", query=f"ts={TS}")
    with pytest.raises(StorageFailed):
        await signatures.holder(call, client.authorization("POST", "/api/chat", TS))


async def test_of_many_at_once_that_are_the_same_one_passes(scene: Scene, client: OllamaClient) -> None:
    told = await asyncio.gather(*(scene.ask(client) for _ in range(50)), return_exceptions=True)

    assert 1 == sum(isinstance(one, Holder) for one in told)
    assert 49 == sum(isinstance(one, Unauthenticated) and one.why is Why.REPLAYED for one in told)
