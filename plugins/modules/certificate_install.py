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
    description: PEM text of the certificate, perhaps followed by its intermediates.
    type: str
    required: true
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
    "certificate": {"type": "str", "required": True},
    "chain": {"type": "str", "default": ""},
    "key": {"type": "str", "no_log": True},
    "key_file": {"type": "path", "no_log": False},
    "names": {"type": "list", "elements": "str", "default": []},
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
    from cryptography.hazmat.primitives.serialization import Encoding

    from ansible_collections.slipway.django.plugins.module_utils.certificates import (
        Expectation,
        Material,
        inspect,
        load_certificates,
        path_to_root,
    )

    key_path = Path(parameters["key_file"]) if parameters["key_file"] else None
    key = str(parameters["key"]).encode() if key_path is None else read_if_there(key_path)
    if key is None:
        raise RefusedError(f"There is no key at {key_path}.")
    material = Material(certificate=parameters["certificate"].encode(), key=key, chain=parameters["chain"].encode())
    roots = read_if_there(Path("/etc/ssl/certs/ca-certificates.crt")) or b""
    found = inspect(material, Expectation(names=parameters["names"], roots=roots), now)
    store = Store(Path(parameters["directory"]))
    if not found.valid:
        live = "The certificate that was in service stays there." if store.current else "Nothing was put into service."
        raise RefusedError("\n".join([*found.problems, live]))

    # Visitors get the certificate and its intermediates in order; a root would only make the handshake longer.
    leaf, *others = load_certificates(material.certificate + b"\n" + material.chain, "The certificate")
    path = path_to_root(leaf, others)
    sent = [leaf, *(one for one in path if one.issuer != one.subject)]
    version = Version(
        fullchain=b"".join(one.public_bytes(Encoding.PEM) for one in sent),
        key=key.strip() + b"\n",
        chain=b"".join(one.public_bytes(Encoding.PEM) for one in path),
    )
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
        required_one_of=[("key", "key_file")],
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
