"""Documentation of the action plugin ``certificate_local_ca``, which works on the controller and on the host in turn."""

from __future__ import annotations

DOCUMENTATION = """
module: certificate_local_ca
short_description: Put a certificate of the controller's own authority into service
description:
  - Makes the authority on the controller when there is none, has the host make a key and a request with
    M(slipway.django.certificate_request), signs the request on the controller, and puts the certificate into service
    with M(slipway.django.certificate_install).
  - The host's key never leaves it, and the authority's key never leaves the controller.
  - In check mode nothing is made; that a certificate would be put into service is reported as a change.
requirements:
  - cryptography on the controller and python3-cryptography on the host
options:
  authority_directory:
    description: Absolute folder of the controller that keeps the authority, C(ca.key) and C(ca.crt).
    type: path
    required: true
  authority_name:
    description: Name of an authority that has to be made.
    type: str
    required: true
  authority_lifetime:
    description: How long an authority that has to be made is valid, such as C(520w).
    type: str
    required: true
  authority_passphrase:
    description: Passphrase of the authority's key; an empty one leaves it readable by its owner alone.
    type: str
    default: ""
  lifetime:
    description: How long the certificate is valid, such as C(90d).
    type: str
    required: true
  directory:
    description: Folder of the certificate on the host.
    type: path
    required: true
  names:
    description: Names and addresses that the certificate is for, the most important first.
    type: list
    elements: str
    required: true
  key_type:
    description: Kind of key that the host makes.
    type: str
    choices: [ecdsa, rsa]
    default: ecdsa
  twin:
    description: Whether the pair is also written as the RSA pair beside an ECDSA one, see M(slipway.django.certificate_install).
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
- name: Put a certificate of the local CA into service
  slipway.django.certificate_local_ca:
    authority_directory: /home/operator/slipway/build/staging/ca
    authority_name: Slipway local CA
    authority_lifetime: 520w
    lifetime: 90d
    directory: /etc/slipway/slipway/tls
    names: [slipway.test]
  notify: Certificate changed
"""

RETURN = """
version:
  description: Name of the version in service.
  type: str
  returned: success, not in check mode
not_after:
  description: End of its validity, in UTC, as ISO 8601.
  type: str
  returned: success, not in check mode
authority_made:
  description: Whether the authority was made by this task, so that visitors have to be told of it.
  type: bool
  returned: success, not in check mode
"""
