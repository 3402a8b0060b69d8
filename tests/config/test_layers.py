from collections.abc import Mapping

import pytest

from proxy.config.layers import CREDENTIALS_DIRECTORY, Exposed
from proxy.config.load import Loaded, Mistake, Mistakes, effective, load

FOLDER = "/run/credentials/llamagate.service"
PEPPER, OTHER = "0123456789abcdef" * 4, "fedcba9876543210" * 4
ISSUER = """
    [issuers.sso]
    url = "https://sso.example.org"
    audience = "llamagate"
    algorithms = "HS256"
"""


def told(held: Mapping[str, str], text: str = "", environment: Mapping[str, str] | None = None) -> Loaded:
    """What a gate makes of such credentials."""

    def read_secret(path: str) -> str:
        name = path.removeprefix(f"{FOLDER}/")
        if name not in held:
            raise FileNotFoundError(2, "No such file or directory", path)
        return held[name]

    variables = {CREDENTIALS_DIRECTORY: FOLDER, **(environment or {})}
    return load(text=text, file="gate.toml", environment=variables, flags={}, read_secret=read_secret)


def secret(loaded: Loaded, key: str) -> str | None:
    value = getattr(loaded.settings, key)
    return None if value is None else str(value.get_secret_value())


@pytest.mark.parametrize(
    ("key", "value"),
    [("pepper", PEPPER), ("database_url", "postgresql://u:hush@h/d"), ("redis_url", "rediss://:hush-hush@redis.lan")],
)
def test_a_secret_comes_from_its_credential(key: str, value: str) -> None:
    loaded = told({key: value + "\n"})

    assert value == secret(loaded, key)
    assert (key, "********", f"systemd credential {key}") in effective(loaded)


def test_an_issuers_secret_comes_from_its_credential() -> None:
    loaded = told({"issuers.sso.secret": PEPPER}, ISSUER)
    issuer = loaded.settings.issuers["sso"]

    assert PEPPER.encode() == issuer.issuer("sso").secret
    assert "systemd credential issuers.sso.secret" == loaded.origins["issuers.sso.secret"]
    assert "gate.toml" == loaded.origins["issuers.sso.url"]


def test_whatever_else_tells_a_secret_goes_before_its_credential() -> None:
    held = {"pepper": PEPPER, "/run/pepper": OTHER}

    assert OTHER == secret(told(held, f'pepper = "{OTHER}"'), "pepper")
    assert OTHER == secret(told(held, environment={"LLAMAGATE_PEPPER": OTHER}), "pepper")
    assert OTHER == secret(told(held, environment={"LLAMAGATE_PEPPER_FILE": "/run/pepper"}), "pepper")


def test_an_issuer_whose_keys_are_told_needs_no_credential() -> None:
    by_file = told({"issuers.sso.secret": PEPPER}, ISSUER + 'secret_file = "/etc/sso"')

    assert None is by_file.settings.issuers["sso"].secret


def test_without_credentials_nothing_is_looked_for() -> None:
    def never(path: str) -> str:
        raise AssertionError(path)

    for environment in ({}, {CREDENTIALS_DIRECTORY: ""}):
        load(text="", file=None, environment=environment, flags={}, read_secret=never)


def test_credentials_that_are_not_there_are_not_told() -> None:
    loaded = told({})

    assert None is loaded.settings.pepper
    assert {} == loaded.origins


def test_a_credential_that_is_not_fit_is_a_mistake_that_does_not_quote_it() -> None:
    with pytest.raises(Mistakes) as raised:
        told({"pepper": "sesame", "issuers.sso.secret": "changeme" * 8}, ISSUER)
    places = [(mistake.where, mistake.key) for mistake in raised.value.mistakes]

    assert ("systemd credential", "pepper") in places
    assert "sesame" not in str(raised.value)
    assert "changeme" not in str(raised.value)


@pytest.mark.parametrize(
    ("error", "problem", "cure"),
    [
        (PermissionError(13, "Permission denied"), "cannot be read: Permission denied", "a credential that the gate"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, ""), "is not text", "a credential that holds only the secret"),
        (Exposed("x", 0o644), "may be read by others (mode 0644)", "chmod 600 it"),
    ],
)
def test_a_credential_that_cannot_be_read_is_a_mistake(error: Exception, problem: str, cure: str) -> None:
    def read_secret(path: str) -> str:
        raise error if path.endswith("/pepper") else FileNotFoundError

    with pytest.raises(Mistakes) as raised:
        load(text="", file=None, environment={CREDENTIALS_DIRECTORY: FOLDER}, flags={}, read_secret=read_secret)
    (mistake,) = raised.value.mistakes

    assert ("systemd credential", "pepper", problem) == (mistake.where, mistake.key, mistake.problem)
    assert mistake.cure.startswith(cure)


def test_a_secret_file_that_others_may_read_is_a_mistake_with_the_cure() -> None:
    def read_secret(path: str) -> str:
        raise Exposed(path, 0o640)

    with pytest.raises(Mistakes) as raised:
        load(text="", file=None, environment={"LLAMAGATE_PEPPER_FILE": "/etc/p"}, flags={}, read_secret=read_secret)

    problem = "names '/etc/p', which others may read (mode 0640)"
    assert [Mistake("environment", "LLAMAGATE_PEPPER_FILE", problem, "chmod 600 /etc/p")] == list(raised.value.mistakes)
