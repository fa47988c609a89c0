"""Ansible module: makes a key where it is used, and a request that proves whose it is."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

DOCUMENTATION = """
module: certificate_request
short_description: Make a key on the host and request a certificate for it
description:
  - Makes the key that M(slipway.django.certificate_install) takes as its O(slipway.django.certificate_install#module:key_file);
    one of the right kind that an unfinished run left there is used.
  - The key never leaves the host; the request is signed with it and names nobody, for its signer says what it is for.
requirements:
  - python3-cryptography
options:
  key_file:
    description: Path of the key on this host. Its folder is made when it is missing.
    type: path
    required: true
  key_type:
    description: Kind of key, ECDSA on P-256 or RSA of 2048 bits.
    type: str
    choices: [ecdsa, rsa]
    default: ecdsa
author: Slipway founders
"""

EXAMPLES = """
- name: Request a certificate
  slipway.django.certificate_request:
    key_file: /etc/slipway/slipway/tls/candidate.pem
  register: request
"""

RETURN = """
csr:
  description: The request, as PEM text; empty in check mode, which makes no key.
  type: str
  returned: success
"""

OPTIONS: dict[str, Any] = {
    "key_file": {"type": "path", "required": True, "no_log": False},
    "key_type": {"type": "str", "choices": ["ecdsa", "rsa"], "default": "ecdsa"},
}


def load(path: Path, key_type: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None:
    """The key that is there, or None when there is none of that kind."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    if key_type == "ecdsa" and isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1":
        return key
    if key_type == "rsa" and isinstance(key, rsa.RSAPrivateKey) and key.key_size == 2048:
        return key
    return None


def make(path: Path, key_type: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    """A new key, in a file of its own that nobody but root ever could read."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = (
        ec.generate_private_key(ec.SECP256R1())
        if key_type == "ecdsa"
        else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)  # mode 0600
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    Path(temporary).replace(path)
    return key


def request(path: Path, key_type: str, *, check: bool = False) -> dict[str, Any]:
    """The module's answer; raises ImportError without cryptography. To check is to say whether a key would be made."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    found = load(path, key_type)
    if check:
        return {"changed": found is None, "csr": ""}
    key = found or make(path, key_type)
    signed = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    return {"changed": found is None, "csr": signed.public_bytes(Encoding.PEM).decode()}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    os.umask(0o022)
    try:
        outcome = request(Path(module.params["key_file"]), module.params["key_type"], check=module.check_mode)
    except ImportError:
        module.fail_json(msg=missing_required_lib("cryptography"))
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()
