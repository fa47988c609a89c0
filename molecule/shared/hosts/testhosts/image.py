"""A host's image: made by mmdebstrap from Debian's own packages, and kept by the recipe's hash.

An image is kept twice: as a tarball in the cache directory and as podman's image. Losing podman's storage
costs an import (10 s), losing both a new mmdebstrap. The hash covers what this file says, not the
date: a host upgrades itself as a real server does.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from testhosts import machine
from testhosts.engine import Engine, root_script, run
from testhosts.errors import HostsError

REPOSITORY = "localhost/slipway/debian"

# About what a stock Debian cloud image carries; anything else is for a role to install.
PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "iputils-ping",
    "less",
    "libpam-systemd",
    "netbase",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tzdata",
)

# Cloud images make their SSH host keys at the first boot. So does this one: no two hosts share a key.
HOST_KEYS_UNIT = """\
[Unit]
Description=Make this host's own SSH keys at its first boot
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
"""

# Run by mmdebstrap with the new root as $1. A container has no kernel modules to load and no consoles. The name
# resolution and the apt proxy that mmdebstrap put there are this machine's, not the host's. A host that is thrown away need not survive
# a power cut in the midst of an installation, which dpkg waits for the disk for.
CUSTOMIZE = f"""\
set -eu
rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/etc/apt/apt.conf.d/99mmdebstrap
cat > "$1/etc/systemd/system/ssh-host-keys.service" <<'UNIT'
{HOST_KEYS_UNIT}UNIT
echo force-unsafe-io > "$1/etc/dpkg/dpkg.cfg.d/test-host"
chroot "$1" systemctl enable ssh-host-keys.service
chroot "$1" systemctl mask systemd-modules-load.service console-getty.service getty.target
"""

# Where mmdebstrap unpacks; emptied before and after, because a killed run cleans up nothing.
WORK = Path("/var/cache/slipway-hosts")

CODENAMES = ("bullseye", "bookworm", "trixie", "forky", "sid")
TARGET = "$(ORIGIN) $(RELEASE) $(REPO_URI)"
PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy")
DEFAULT_MIRROR = "http://deb.debian.org/debian"
DEFAULT_SECURITY_MIRROR = "http://security.debian.org/debian-security"


def recipe(suite: str, architecture: str) -> str:
    """Everything that decides what is in the image, as text. Which mirror it came from does not."""
    return json.dumps([suite, architecture, PACKAGES, CUSTOMIZE])


def tag(suite: str, architecture: str) -> str:
    """The image's tag, for example `trixie-1f2e3d4c5b6a`."""
    return f"{suite}-{hashlib.sha256(recipe(suite, architecture).encode()).hexdigest()[:12]}"


def named_image(suite: str, environment: Mapping[str, str]) -> str | None:
    """The image a user named instead: SLIPWAY_HOST_IMAGE_<SUITE>, or SLIPWAY_HOST_IMAGE for all."""
    return environment.get(f"SLIPWAY_HOST_IMAGE_{suite.upper()}") or environment.get("SLIPWAY_HOST_IMAGE")


def cache_directory() -> Path:
    """Where tarballs are kept (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "slipway"


def sources(suite: str, targets: str) -> list[str]:
    """The apt source lines for `suite`, from the mirrors that this machine's apt uses.

    `targets` has a line `<origin> <release> <uri>` for each of its sources. The origin is known only once
    the lists were fetched; before that a mirror is told by its path. A machine that is not Debian, or has no
    apt, gets Debian's own mirrors.
    """
    mirror, security = DEFAULT_MIRROR, DEFAULT_SECURITY_MIRROR
    for line in targets.splitlines():
        origin, release, uri = line.split(" ", 2)
        path = uri.rstrip("/").rpartition("/")[2]
        if origin != "Debian" and not (origin.startswith("$") and path in ("debian", "debian-security")):
            continue
        if release in CODENAMES:
            mirror = uri
        elif release.removesuffix("-security") in CODENAMES:
            security = uri
    return [
        f"deb {mirror} {suite} main",
        f"deb {mirror} {suite}-updates main",
        f"deb {security} {suite}-security main",
    ]


def proxies(configuration: str) -> list[str]:
    """The proxy settings in the answer of `apt-config dump`, as apt options."""
    return re.findall(r'^(Acquire::https?::Proxy\S* ".+");$', configuration, flags=re.MULTILINE)


def ask_apt(*command: str) -> str:
    """What this machine's apt says; nothing on a machine without apt."""
    if not shutil.which(command[0]):
        return ""
    return run(list(command), check=False).stdout


def mmdebstrap_command(suite: str, target: Path, lines: list[str], options: list[str]) -> list[str]:
    """The command that makes `target`, a tarball, from the source `lines` with further apt `options`."""
    inherited = [f"{name}={os.environ[name]}" for name in PROXY_VARIABLES if name in os.environ]
    return [
        *machine.as_root(),
        "env",
        f"TMPDIR={WORK / suite}",
        *inherited,
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        *(f"--aptopt={option}" for option in options),
        f"--customize-hook={CUSTOMIZE}",
        suite,
        str(target),
        *lines,
    ]


def obtain(engine: Engine, suite: str, say: Callable[[str], None]) -> str:
    """The name of a usable image for `suite`, built or imported if it has to be."""
    named = named_image(suite, os.environ)
    if named:
        if engine.podman("image", "exists", named, check=False).returncode != 0:
            raise HostsError(
                f"The image {named} is not here.\nPull or import it first, with "
                f"`python3 molecule/shared/hosts podman pull {named}`, or unset SLIPWAY_HOST_IMAGE."
            )
        return named
    architecture = platform.machine()
    image_tag = tag(suite, architecture)
    image = f"{REPOSITORY}:{image_tag}"
    if engine.podman("image", "exists", image, check=False).returncode == 0:
        return image
    tarball = cache_directory() / f"{image_tag}.tar"
    if not tarball.exists():
        build_tarball(suite, tarball, say)
    say(f"{suite}: importing the image")
    # Podman gives the name only to an image that is complete.
    engine.podman(
        "import",
        "--change=CMD=/lib/systemd/systemd",
        "--change=STOPSIGNAL=SIGRTMIN+3",
        str(tarball),
        image,
        timeout=600,
    )
    forget_older(engine, suite, image_tag)
    return image


def build_tarball(suite: str, tarball: Path, say: Callable[[str], None]) -> None:
    """Make the tarball under another name and rename it, so that half of one is never taken for whole.

    The other name is new each time: a killed run's mmdebstrap may live on and write to its own.
    """
    machine.require(["mmdebstrap"])
    say(f"{suite}: building the image from Debian's packages (a minute or so, once)")
    tarball.parent.mkdir(parents=True, exist_ok=True)
    for leftover in tarball.parent.glob(f".partial-{suite}-*"):
        leftover.unlink()
    partial = tarball.with_name(f".partial-{tarball.stem}-{uuid.uuid4().hex}.tar")
    lines = sources(suite, ask_apt("apt-get", "indextargets", "Created-By: Packages", "--format", TARGET))
    options = proxies(ask_apt("apt-config", "dump"))
    root_script(f'rm -rf --one-file-system "{WORK}/$1" && mkdir -p "{WORK}/$1"', suite)
    run(mmdebstrap_command(suite, partial, lines, options), timeout=1800)
    root_script(f'rm -rf --one-file-system "{WORK}/$1"', suite)
    partial.rename(tarball)


def forget_older(engine: Engine, suite: str, image_tag: str) -> None:
    """Remove what earlier recipes made for `suite`. An image that a host still uses stays."""
    for tarball in cache_directory().glob(f"{suite}-*.tar"):
        if tarball.stem != image_tag:
            tarball.unlink()
    for image in images(engine):
        name = image.rpartition(":")[2]
        if name.startswith(f"{suite}-") and name != image_tag:
            engine.podman("rmi", image, check=False)


def images(engine: Engine) -> list[str]:
    """The names of all images made here."""
    listed = engine.podman("images", "--filter", f"reference={REPOSITORY}", "--format", "{{.Repository}}:{{.Tag}}")
    return listed.stdout.split()


def forget_all(engine: Engine) -> None:
    """Remove every image and everything in the cache."""
    for image in images(engine):
        engine.podman("rmi", "--force", image)
    for kept in cache_directory().glob("*.tar"):
        kept.unlink()
    root_script(f"rm -rf --one-file-system {WORK}")
