"""Ansible module around module_utils/certificate_store.py: puts a certificate that was checked into service."""

from __future__ import annotations

import datetime as dt
import grp
import os
import pwd
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.slipway.django.plugins.module_utils.certificate_store import (
    CERTIFICATE_FILE,
    CHAIN_FILE,
    KEY_FILE,
    Ownership,
    Store,
    Version,
    read_if_there,
)

DOCUMENTATION = """
module: certificate_install
short_description: Put a certificate into service at one stable path
description:
  - Checks the certificate as M(slipway.django.certificate_check) does and refuses it with the same sentences, in which
    case the one in service stays there.
  - Writes C(DIRECTORY/versions/ID/{fullchain.pem,privkey.pem,chain.pem}), then swaps the link C(DIRECTORY/current) in
    one rename.
  - Keeps the version before and removes older ones.
requirements:
  - python3-cryptography
options:
  directory:
    description: Folder of the certificate.
    type: path
    required: true
  certificate:
    description:
      - PEM text of the certificate, perhaps followed by its intermediates.
      - Without it and without a key the pair in service is taken again, for the sake of C(twin).
    type: str
  chain:
    description: PEM text of further intermediates and, for a private authority, its root.
    type: str
    default: ""
  key:
    description: PEM text of the private key.
    type: str
  key_file:
    description: Path of the private key on this host, which is removed once it is in service.
    type: path
  names:
    description: Names and addresses that the certificate must cover.
    type: list
    elements: str
    default: []
  twin:
    description: >-
      Whether the pair is also written as C(fullchain-rsa.pem) and C(privkey-rsa.pem), for a server that is configured for an
      RSA pair beside the ECDSA one before there is one.
    type: bool
    default: false
  owner:
    description: Owner of the key.
    type: str
    default: root
  group:
    description: Group of the key.
    type: str
    default: root
  mode:
    description: Permission bits of the key.
    type: str
    default: "0600"
author: Slipway founders
"""

EXAMPLES = """
- name: Put the certificate into service
  slipway.django.certificate_install:
    directory: /etc/slipway/slipway/tls
    certificate: "{{ issued.certificate }}"
    key_file: /etc/slipway/slipway/tls/candidate.pem
    names: [slipway.test]
  notify: Certificate changed
"""

RETURN = """
version:
  description: Name of the version in service.
  type: str
  returned: success
not_after:
  description: End of its validity, in UTC, as ISO 8601.
  type: str
  returned: success
"""

OPTIONS: dict[str, Any] = {
    "directory": {"type": "path", "required": True},
    "certificate": {"type": "str"},
    "chain": {"type": "str", "default": ""},
    "key": {"type": "str", "no_log": True},
    "key_file": {"type": "path", "no_log": False},
    "names": {"type": "list", "elements": "str", "default": []},
    "twin": {"type": "bool", "default": False},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str", "default": "0600"},
}


class RefusedError(Exception):
    """The certificate does not go into service; the message says why and what is live."""


def ownership(parameters: dict[str, Any]) -> Ownership:
    """Numbers for owner and group; raises RefusedError for a name that this host does not know."""
    try:
        uid = pwd.getpwnam(parameters["owner"]).pw_uid
    except KeyError as error:
        raise RefusedError(
            f"The key should belong to the user {parameters['owner']}, who does not exist here."
        ) from error
    try:
        gid = grp.getgrnam(parameters["group"]).gr_gid
    except KeyError as error:
        raise RefusedError(
            f"The key should be for the group {parameters['group']}, which does not exist here: "
            "install the package that brings it before the certificate."
        ) from error
    return Ownership(uid=uid, gid=gid, mode=int(parameters["mode"], 8))


def install(parameters: dict[str, Any], now: dt.datetime, *, check: bool) -> dict[str, Any]:
    """Check, write and swap; raises RefusedError when the certificate is not fit, ImportError without cryptography."""
    from ansible_collections.slipway.django.plugins.module_utils.certificates import (
        Expectation,
        Material,
        arrange,
        inspect,
    )

    again = parameters["certificate"] is None
    if again:
        place = Path(parameters["directory"]) / "current"
        texts = [(read_if_there(place / name) or b"").decode() for name in (CERTIFICATE_FILE, CHAIN_FILE, KEY_FILE)]
        parameters = {**parameters, **dict(zip(("certificate", "chain", "key"), texts, strict=True))}
    key_path = Path(parameters["key_file"]) if parameters["key_file"] else None
    key = read_if_there(key_path) if key_path is not None else str(parameters["key"] or "").encode()
    if key is None:
        raise RefusedError(f"There is no key at {key_path}.")
    if not key:
        raise RefusedError("A certificate goes into service with its key, and none is given.")
    material = Material(certificate=parameters["certificate"].encode(), key=key, chain=parameters["chain"].encode())
    roots = read_if_there(Path("/etc/ssl/certs/ca-certificates.crt")) or b""
    found = inspect(material, Expectation(names=parameters["names"], roots=roots, anchored=not again), now)
    store = Store(Path(parameters["directory"]))
    if not found.valid:
        live = "The certificate that was in service stays there." if store.current else "Nothing was put into service."
        raise RefusedError("\n".join([*found.problems, live]))

    fullchain, chain = arrange(material)
    key = key.strip() + b"\n"
    twin = {"rsa_fullchain": fullchain, "rsa_key": key} if parameters["twin"] else {}
    version = Version(fullchain=fullchain, key=key, chain=chain, **twin)
    owner = ownership(parameters)
    before = store.current
    changed = not store.holds(version, owner)
    if changed and not check:
        store.put(version, owner)
    if key_path is not None and not check:
        key_path.unlink()
    link = str(store.link)
    return {
        "changed": changed,
        "version": version.name,
        "not_after": found.not_after.isoformat() if found.not_after else "",
        "diff": {
            "before_header": link,
            "after_header": link,
            "before": f"version {before}\n" if before else "",
            "after": f"version {version.name}\n",
        },
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec=OPTIONS,
        mutually_exclusive=[("key", "key_file")],
        required_by={"key": "certificate", "key_file": "certificate"},
        supports_check_mode=True,
    )
    os.umask(0o022)
    try:
        outcome = install(module.params, dt.datetime.now(dt.UTC), check=module.check_mode)
    except ImportError:
        module.fail_json(msg=missing_required_lib("cryptography"))
    except RefusedError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()
