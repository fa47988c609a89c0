"""Documentation of the action plugin ``jwt_plan``, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = """
module: jwt_plan
short_description: Decide which keys every app host of a site gets
description:
  - Takes what C(slipway.django.jwt_look) found on each host and returns the secrets that all of them should have. Makes the first
    keys, brings the newest set to hosts that are behind, and for a rotation takes the one step that is due and safe.
  - Keeps a backup of the keys on the controller, encrypted by ansible-vault, before any host is changed. Where no host has keys
    and the backup has, those are used again.
  - The result holds secrets and hides itself, unless it is a refusal.
options:
  hosts:
    description: Names of all app hosts of the site.
    type: list
    elements: str
    required: true
  looks:
    description: The C(found) of jwt_look by host; one that is not among them is one that this run does not look at.
    type: dict
    required: true
  secret_key:
    description: The SECRET_KEY of the inventory.
    type: str
    default: ""
  algorithm:
    description: Algorithm of new keys; nothing for a site whose tokens have no keys of their own.
    type: str
    default: ""
  refresh_lifetime:
    description: Seconds that a refresh token lives.
    type: int
    default: 86400
  leeway:
    description: Seconds by which clocks may differ.
    type: int
    default: 10
  public_max_age:
    description: Seconds for which others may keep the published keys.
    type: int
    default: 300
  given:
    description: A key that is provided, as PEM, private JWK or for HMAC any text; nothing to have keys made.
    type: str
    default: ""
  overlap:
    description: Seconds for which an old SECRET_KEY is accepted after a new one signs; 0 leaves SECRET_KEY alone.
    type: int
    default: 0
  step:
    description: V(keep) moves no key, V(next) takes the step that is due, V(revoke) accepts only a new key from now on.
    type: str
    choices: [keep, next, revoke]
    default: keep
  begin:
    description: Whether V(next) may begin a rotation; V(auto) when none is under way, V(yes) also while an earlier key retires.
    type: str
    choices: [auto, "yes", "no"]
    default: auto
  backup:
    description: File of the controller with the encrypted backup.
    type: path
    required: true
  backup_password:
    description: What the backup is encrypted with; nothing for the vault password of this run.
    type: str
    default: ""
author: Slipway founders
"""

EXAMPLES = """
- name: Plan the next step
  slipway.django.jwt_plan:
    hosts: [app1, app2]
    looks: {app1: "{{ hostvars.app1.keys.found }}"}
    algorithm: EdDSA
    step: next
    backup: /home/me/shop/keys.vault
  register: plan
"""

RETURN = """
secrets:
  description: What every app host gets, by the secret's name.
  type: dict
  returned: success
moved:
  description: Whether that is something else than the hosts have, or than what serves there was started with.
  type: bool
  returned: success
told:
  description: What is done and why, a sentence for each kind of key.
  type: list
  returned: success
steps:
  description: The step by kind of key (tokens, secret_key), such as introduce, sign, retire or wait.
  type: dict
  returned: success
due_in:
  description: Seconds until the earliest next step may come, 0 or more.
  type: int
  returned: when that is known
revoked:
  description: Ids of keys that are not accepted any more.
  type: list
  returned: success
"""
