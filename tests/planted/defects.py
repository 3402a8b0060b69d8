"""The twelve defects, as replacements in today's code. Nothing in this module does I/O."""

from dataclasses import dataclass


class CannotPlant(Exception):
    """The code is not what it was when the defect was written down."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement in one file."""

    file: str
    old: str
    """Stands in the file exactly once."""
    new: str

    def applied(self, source: str) -> str:
        """The file with the defect in it. Raises CannotPlant."""
        if (count := source.count(self.old)) != 1:
            raise CannotPlant(f"{self.file} has this {count} times instead of once:\n{self.old}")
        return source.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Defect:
    """One mistake that a gate like this one could have, and has not."""

    number: int
    """Of the twelve; where one can be made in several ways, all of these have to be noticed."""
    says: str
    edits: tuple[Edit, ...]
    """Several where one mistake alone would do no harm, for something else stands behind it."""
    tests: tuple[str, ...]
    """Files, or tests in them, among which it has to be noticed; the likeliest first."""


STILL_PASSES = ("tests/web/test_door.py::test_a_body_of_just_the_limit_is_read",)
"""A gate with any of the defects: else it is only broken, and whatever notices that proves nothing."""

_LIMITER = "proxy/limits/limiter.py"
_LINK = "proxy/limits/redis/link.py"
_HTTP = "proxy/backends/http.py"
_WIRE = "proxy/backends/wire.py"
_DOOR = "proxy/web/door.py"
_CONNECTION = "proxy/web/connection.py"
_FRAMING = "proxy/web/framing.py"
_JSON = "proxy/dialects/strict_json.py"

DEFECTS = (
    Defect(
        1,
        "a refusal by a limit is swallowed",
        (
            Edit(
                _LIMITER,
                "        except BaseException:\n            if decision.admitted:\n",
                "        except RateLimited:\n            return None\n"
                "        except BaseException:\n            if decision.admitted:\n",
            ),
        ),
        ("tests/limits/test_limiter.py",),
    ),
    Defect(
        2,
        "a signature is enough, whatever the token lacks",
        (Edit("proxy/auth/tokens.py", '"require": ["exp", "iat", "iss", "aud", "sub"]', '"require": []'),),
        ("tests/auth/test_tokens.py",),
    ),
    Defect(
        2,
        "a token without an end is good for a minute",
        (Edit("proxy/auth/claims.py", '_time(payload.get("exp"))', '_time(payload.get("exp", int(now) + 60))'),),
        ("tests/auth/test_claims.py",),
    ),
    Defect(
        2,
        "a token without an end is taken",
        (
            Edit("proxy/auth/tokens.py", '"require": ["exp", "iat", "iss", "aud", "sub"]', '"require": ["iss", "aud"]'),
            Edit("proxy/auth/claims.py", '_time(payload.get("exp"))', '_time(payload.get("exp", int(now) + 60))'),
        ),
        ("tests/auth/test_tokens.py",),
    ),
    Defect(
        3,
        "the path goes on as the client wrote it",
        (
            Edit(
                "proxy/gateway.py",
                "from functools import partial\n",
                "from dataclasses import replace\nfrom functools import partial\n"
                "from posixpath import normpath\nfrom urllib.parse import unquote\n",
            ),
            Edit(
                "proxy/gateway.py",
                "                endpoint, segment = endpoints.find(call.method, call.path)\n",
                "                endpoint, segment = endpoints.find(call.method, normpath(unquote(call.path)))\n"
                "                endpoint = replace(endpoint, path=call.path)\n",
            ),
        ),
        ("tests/security/test_first_line.py", "tests/security/test_wire_requests.py"),
    ),
    Defect(
        4,
        "a redirect of the backend is followed",
        (
            Edit(
                _HTTP,
                "            await self._asked(wire)\n            head = wire.head\n",
                "            await self._asked(wire)\n            if 300 <= wire.status < 400:\n"
                "                wire = self._wire = await self._pool.wire()\n                await self._asked(wire)\n"
                "            head = wire.head\n",
            ),
        ),
        (
            "tests/backends/test_http.py::test_nobody_hears_of_a_call_because_the_backend_says_that_they_should",
            "tests/backends/test_http.py",
        ),
    ),
    Defect(
        5,
        "all callers share one jar of cookies",
        (
            Edit(_WIRE, "READ_AHEAD: Final", "JAR: list[bytes] = []\nREAD_AHEAD: Final"),
            Edit(
                _WIRE,
                "        if self.head is None:  # Else",
                '        if name.lower() == b"set-cookie":\n            JAR.append(value)\n'
                "        if self.head is None:  # Else",
            ),
            Edit(_HTTP, "wire import Wire", "wire import JAR, Wire"),
            Edit(
                _HTTP,
                "self._place.netloc)\n        if self._besides",
                "self._place.netloc)\n"
                '        asked += b"".join(b"Cookie: " + one + b"\\r\\n" for one in JAR)\n        if self._besides',
            ),
        ),
        ("tests/backends/test_http.py",),
    ),
    Defect(
        6,
        "secrets are compared until they differ",
        (Edit("proxy/auth/api_keys.py", "return hmac.compare_digest(one, other)", "return one == other"),),
        ("tests/auth/test_api_keys.py", "tests/auth/test_authenticator.py"),
    ),
    Defect(
        7,
        "a body may come as slowly as it likes",
        (Edit(_DOOR, "asyncio.timeout(patience)", "asyncio.timeout(None)"),),
        ("tests/web/test_connection.py",),
    ),
    Defect(
        7,
        "a body may take for ever if it goes on coming",
        (Edit(_DOOR, "asyncio.timeout(self._manners.body_timeout)", "asyncio.timeout(None)"),),
        ("tests/web/test_door.py",),
    ),
    Defect(
        8,
        "a client may take nothing of its answer for ever",
        (Edit(_DOOR, "asyncio.timeout(self._manners.stall_timeout)", "asyncio.timeout(None)"),),
        ("tests/web/test_door.py",),
    ),
    Defect(
        8,
        "a client may take nothing of whatever else it is told",
        (
            Edit(
                _CONNECTION,
                "self._stall_timer = self._loop.call_later(patience, self._is_stalled)",
                "self._stall_timer = self._loop.call_later(1000 * patience, self._is_stalled)",
            ),
        ),
        ("tests/web/test_connection.py",),
    ),
    Defect(
        9,
        "anybody is believed about whom they speak for",
        (
            Edit(
                "proxy/web/addresses.py",
                "    if not _is_among(here, trusted):\n        return str(here)\n    lines",
                "    lines",
            ),
        ),
        ("tests/web/test_addresses.py",),
    ),
    Defect(
        10,
        "a name in other capitals is no name",
        (Edit(_JSON, "name not in known and name.casefold() in known", "name not in known and name in known"),),
        ("tests/dialects/test_strict_json.py", "tests/security/test_wire_bodies.py"),
    ),
    Defect(
        10,
        "a name with a letter that only looks alike is no name",
        (Edit(_JSON, "name.casefold() in known", "name.lower() in known"),),
        ("tests/dialects/test_strict_json.py", "tests/security/test_wire_bodies.py"),
    ),
    Defect(
        11,
        "what is no HTTP is quoted in the refusal",
        (
            Edit(
                _CONNECTION,
                "        except NotHttp as refusal:\n            self._refuse(refusal)\n",
                "        except NotHttp as refusal:\n"
                '            refusal.message = data.decode("latin-1")\n'
                "            self._refuse(refusal)\n",
            ),
        ),
        ("tests/web/test_app.py", "tests/web/test_connection.py"),
    ),
    Defect(
        11,
        "a member of the body is quoted in the refusal",
        (
            Edit(
                _JSON,
                'raise NotUnderstood("The request body has the same member twice.")',
                'raise NotUnderstood(f"The request body has the same member twice: {[name for name, _ in pairs]}")',
            ),
        ),
        ("tests/dialects/test_strict_json.py", "tests/security/test_wire_bodies.py"),
    ),
    Defect(
        12,
        "what Redis did not answer is sent again",
        (
            Edit(
                _LINK,
                "        line.ask(question)\n        self._watch.over(answer)\n        try:\n"
                "            return await answer\n        except TimeoutError as error:\n",
                "        line.ask(question)\n        self._watch.over(answer)\n        try:\n"
                "            return await answer\n        except StoreFailed:\n"
                "            answer = asyncio.get_running_loop().create_future()\n"
                "            line.ask(Question(script, words, question.count, answer))\n"
                "            self._watch.over(answer)\n            return await answer\n"
                "        except TimeoutError as error:\n",
            ),
        ),
        ("tests/limits/redis/test_link.py::test_what_was_not_answered_is_not_sent_again",),
    ),
    Defect(
        12,
        "a claim that failed is made again",
        (
            Edit(
                "proxy/limits/redis/store.py",
                "                if not is_wrong_type(error):\n                    raise\n"
                "                await self._repair(keys)\n                continue\n",
                "                if is_wrong_type(error):\n                    await self._repair(keys)\n"
                "                continue\n",
            ),
        ),
        (
            "tests/limits/redis/test_store.py::test_what_was_not_heard_of_is_taken_back",
            "tests/limits/redis/test_store.py::test_an_unreachable_redis_raises_and_keeps_what_has_to_be_settled",
            "tests/limits/redis/test_store.py::test_a_claim_that_was_not_answered_is_not_made_again",
        ),
    ),
)
