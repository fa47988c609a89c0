"""Ansible module around module_utils/certificates.py: looks at a certificate, changes nothing."""

from __future__ import annotations

import datetime as dt
import grp
import pwd
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.slipway.django.plugins.module_utils.certificate_store import (
    CERTIFICATE_FILE,
    CHAIN_FILE,
    KEY_FILE,
    RSA_CERTIFICATE_FILE,
    read_if_there,
)

if TYPE_CHECKING:
    from ansible_collections.slipway.django.plugins.module_utils.certificates import Report

DOCUMENTATION = """
module: certificate_check
short_description: Say what is wrong with a server certificate
description:
  - Looks at a certificate, its key and its chain as a strict visitor would, and answers in sentences.
  - Works on a host with paths, and on the controller with texts, so that files are judged before any host is touched.
  - Changes nothing, and never fails because of a bad certificate; read C(valid).
requirements:
  - python3-cryptography, but only once there is a certificate to look at
options:
  directory:
    description: Folder that holds fullchain.pem, privkey.pem and, perhaps, chain.pem.
    type: path
  certificate_file:
    description: Path of the certificate, followed by its intermediates. Overrides C(directory).
    type: path
  key_file:
    description: Path of the private key. Overrides C(directory).
    type: path
  chain_file:
    description: Path of further intermediates or a private root. Overrides C(directory).
    type: path
  certificate:
    description: The certificate as PEM text, instead of a path.
    type: str
  key:
    description: The private key as PEM text, instead of a path.
    type: str
  chain:
    description: Further intermediates or a private root as PEM text, instead of a path.
    type: str
  names:
    description: Names and addresses that the certificate must cover. Wildcards in the certificate count.
    type: list
    elements: str
    default: []
  key_type:
    description: Kind of key that is asked for.
    type: str
    choices: [ecdsa, rsa]
  authority:
    description: >-
      PEM text of the authority that must have signed the certificate; an empty text says that there is none yet, which
      is a problem. Without this option any authority will do.
    type: str
  interim_authority:
    description: >-
      PEM text of an authority that only bridges the time until another one, which the host asks by itself, gives a certificate.
      What it signed must be for C(names) and have C(minimum_remaining) left; of any other's the host takes care, so it is enough
      that the pair fits and has not expired.
    type: str
  same_as:
    description: PEM text of the certificate that must be in service.
    type: str
  roots_file:
    description: File with roots that may end the chain without being given, where it exists.
    type: path
    default: /etc/ssl/certs/ca-certificates.crt
  minimum_remaining:
    description: Part of the lifetime that must be left, from 0 to 1.
    type: float
    default: 0.0
  skew:
    description: Seconds that the issuer's clock may be ahead of this one.
    type: int
    default: 300
  key_owner:
    description: User who must own the key file.
    type: str
  key_group:
    description: Group that the key file must have.
    type: str
  key_mode:
    description: Permission bits that the key file must have, such as C("0600").
    type: str
author: Slipway founders
"""

EXAMPLES = """
- name: Look at the certificate in service
  slipway.django.certificate_check:
    directory: /etc/slipway/slipway/tls/current
    names: [slipway.test]
    minimum_remaining: 0.33
  register: answer

- name: Refuse files that do not fit
  ansible.builtin.assert:
    that: answer.valid
    fail_msg: "{{ answer.problems | join('\\n') }}"
"""

RETURN = """
valid:
  description: Whether nothing at all is wrong.
  type: bool
  returned: always
problems:
  description: One sentence for each thing that is wrong, with what to do about it.
  type: list
  elements: str
  returned: always
names:
  description: Names and addresses that the certificate is for.
  type: list
  elements: str
  returned: always
subject:
  description: Common name of the certificate.
  type: str
  returned: always
issuer:
  description: Common name of the authority that signed it.
  type: str
  returned: always
key_type:
  description: C(ecdsa) or C(rsa).
  type: str
  returned: always
fingerprint:
  description: SHA-256 of the certificate in hexadecimal.
  type: str
  returned: always
serial:
  description: Serial number in hexadecimal.
  type: str
  returned: always
not_before:
  description: Start of validity, in UTC, as ISO 8601.
  type: str
  returned: always
not_after:
  description: End of validity, in UTC, as ISO 8601.
  type: str
  returned: always
remaining:
  description: Part of the lifetime that is left, from 0 to 1.
  type: float
  returned: always
paired:
  description: Whether an RSA pair stands beside it in C(directory).
  type: bool
  returned: always
"""

OPTIONS: dict[str, Any] = {
    "directory": {"type": "path"},
    "certificate_file": {"type": "path"},
    "key_file": {"type": "path", "no_log": False},
    "chain_file": {"type": "path"},
    "certificate": {"type": "str"},
    "key": {"type": "str", "no_log": True},
    "chain": {"type": "str"},
    "names": {"type": "list", "elements": "str", "default": []},
    "key_type": {"type": "str", "choices": ["ecdsa", "rsa"], "no_log": False},
    "authority": {"type": "str"},
    "interim_authority": {"type": "str"},
    "same_as": {"type": "str"},
    "roots_file": {"type": "path", "default": "/etc/ssl/certs/ca-certificates.crt"},
    "minimum_remaining": {"type": "float", "default": 0.0},
    "skew": {"type": "int", "default": 300},
    "key_owner": {"type": "str", "no_log": False},
    "key_group": {"type": "str", "no_log": False},
    "key_mode": {"type": "str", "no_log": False},
}


class UnusableError(Exception):
    """Something stands in the way of looking; the message is the one problem to report."""


def source(parameters: dict[str, Any], kind: str, file_name: str) -> tuple[bytes | None, Path | None]:
    """Text and path of the certificate, the key or the chain; both are None when neither is asked for."""
    if parameters[kind] is not None:
        return str(parameters[kind]).encode(), None
    path = None
    if parameters[f"{kind}_file"]:
        path = Path(parameters[f"{kind}_file"])
    elif parameters["directory"]:
        path = Path(parameters["directory"]) / file_name
    if path is None:
        return None, None
    try:
        return read_if_there(path), path
    except OSError as error:
        raise UnusableError(f"The {kind} {path} cannot be read: {error.strerror}.") from error


def key_permission_problems(path: Path | None, parameters: dict[str, Any]) -> list[str]:
    """How owner, group and mode of the key file differ from what they should be."""
    if path is None or not path.exists():
        return []
    status = path.stat()
    found = {
        "key_owner": _name(lambda: pwd.getpwuid(status.st_uid).pw_name, status.st_uid),
        "key_group": _name(lambda: grp.getgrgid(status.st_gid).gr_name, status.st_gid),
        "key_mode": f"{stat.S_IMODE(status.st_mode):04o}",
    }
    wanted = {option: parameters[option] for option in found if parameters[option] is not None}
    if "key_mode" in wanted:
        wanted["key_mode"] = f"{int(wanted['key_mode'], 8):04o}"
    return [
        f"The key {path} has the {option.removeprefix('key_')} {found[option]} instead of {value}."
        for option, value in wanted.items()
        if found[option] != value
    ]


def _name(look_up: Any, number: int) -> str:
    try:
        return str(look_up())
    except KeyError:
        return str(number)


def report(parameters: dict[str, Any], now: dt.datetime) -> tuple[Report | None, list[str]]:
    """The report, or None with the problems that stood in the way; raises ImportError without cryptography."""
    try:
        certificate, certificate_path = source(parameters, "certificate", CERTIFICATE_FILE)
        key, key_path = source(parameters, "key", KEY_FILE)
        chain, chain_path = source(parameters, "chain", CHAIN_FILE)
    except UnusableError as error:
        return None, [str(error)]
    if certificate is None:
        where = f" at {certificate_path}" if certificate_path else ""
        return None, [f"There is no certificate{where} yet."]
    if key is None and key_path is not None:
        return None, [f"There is no key at {key_path}."]

    # Imported only now: an empty host in check mode has no certificate and no cryptography either.
    from ansible_collections.slipway.django.plugins.module_utils.certificates import (
        Expectation,
        Material,
        comes_from,
        inspect,
    )

    def encoded(option: str) -> bytes | None:
        return None if parameters[option] is None else str(parameters[option]).encode()

    interim = encoded("interim_authority")
    kept = interim is not None and not comes_from(certificate, interim)
    found = inspect(
        Material(
            certificate=certificate,
            key=key,
            chain=chain or b"",
            certificate_label=f"The certificate {certificate_path}" if certificate_path else "The certificate",
            key_label=f"The key {key_path}" if key_path else "The key",
            chain_label=f"The chain {chain_path}" if chain_path else "The chain",
        ),
        Expectation(
            names=[] if kept else parameters["names"],
            key_type=parameters["key_type"],
            authority=encoded("authority"),
            same_as=encoded("same_as"),
            roots=read_if_there(Path(parameters["roots_file"])) or b"",
            anchored=not kept,
            minimum_remaining=0.0 if kept else parameters["minimum_remaining"],
            skew=dt.timedelta(seconds=parameters["skew"]),
        ),
        now,
    )
    return found, [*found.problems, *key_permission_problems(key_path, parameters)]


def answer(found: Report | None, problems: list[str]) -> dict[str, Any]:
    """The module's result, with the same keys whatever was found."""
    return {
        "changed": False,
        "valid": not problems,
        "problems": problems,
        "names": found.names if found else [],
        "subject": found.subject if found else "",
        "issuer": found.issuer if found else "",
        "key_type": found.key_type if found else "",
        "fingerprint": found.fingerprint if found else "",
        "serial": found.serial if found else "",
        "not_before": found.not_before.isoformat() if found and found.not_before else "",
        "not_after": found.not_after.isoformat() if found and found.not_after else "",
        "remaining": round(found.remaining, 4) if found else 0.0,
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec=OPTIONS,
        mutually_exclusive=[
            ("certificate", "certificate_file"),
            ("key", "key_file"),
            ("chain", "chain_file"),
            ("certificate", "directory"),
        ],
        required_one_of=[("directory", "certificate_file", "certificate")],
        supports_check_mode=True,
    )
    try:
        found, problems = report(module.params, dt.datetime.now(dt.UTC))
    except ImportError:
        module.fail_json(msg=missing_required_lib("cryptography"))
    directory = module.params["directory"]
    paired = bool(directory) and (Path(directory) / RSA_CERTIFICATE_FILE).exists()
    module.exit_json(**answer(found, problems), paired=paired)


if __name__ == "__main__":
    main()
