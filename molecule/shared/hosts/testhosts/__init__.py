"""Throw-away Debian hosts with systemd as PID 1, in podman, reached over SSH.

Standard library only, Python 3.11 or newer, because it runs before anything has been installed.

    table      which hosts there are: names, addresses, Debian suites
    machine    what this machine is like: root or sudo, cgroups, missing programs
    engine     podman, entered through a private mount namespace where cgroups make that necessary
    network    the hosts' own network and its name server
    image      a host's image: mmdebstrap, cached by content
    access     how a host is reached: key, known_hosts, /etc/hosts
    lifecycle  up, down, restart
    cli        the verbs
"""
