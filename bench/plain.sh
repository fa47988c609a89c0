#!/bin/sh
# What site.yml does, by hand and with no orchestration: the practical limit that bench/run compares it with.
#
# It runs on a fresh host as root, over one ssh connection, in a directory with what bench/run put beside it: lists of
# packages, the rendered files of a converged host, the sources. It looks at nothing, undoes nothing and is run once.
#
#   plain.sh site RELEASE      everything; the authority's certificate is left in ca.crt
#   plain.sh release RELEASE   a new release beside the old one, and the old one's end
#   plain.sh look              whether everything is as it was left, changing nothing
set -eu
cd "$(dirname "$0")"
here=$PWD
umask 022
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

# Names and numbers that were captured with the files, given in the environment.
: "${SITE:?}" "${DOMAIN:?}" "${POSTGRESQL:?}" "${CACHE:?}" "${UV:?}"

home=/srv/$SITE
kept=/var/cache/$SITE
state=/var/lib/$SITE
tls=/etc/slipway/$SITE/tls

# As one of the site's accounts, with nothing of our own environment.
as() {
    account=$1
    shift
    runuser -u "$account" -- env -i HOME="$kept" LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin \
        SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt "$@"
}

query() {
    runuser -u postgres -- psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$@"
}

packages() {
    # How PostgreSQL's package makes and starts its cluster is decided before it is there.
    tar -x -p -f early.tar -C /
    apt-get update -q=2
    xargs apt-get install -q=2 -y --no-install-recommends <packages
    tar -x -p -f files.tar -C /
}

base() {
    systemd-sysusers
    systemd-tmpfiles --create "/etc/tmpfiles.d/$SITE-cache.conf"
    sysctl --quiet --load=/etc/sysctl.d/60-slipway.conf
    systemctl daemon-reload
    systemctl restart systemd-journald.service
    sshd -t
    systemctl reload ssh.service
    nft --check --file /etc/nftables.conf
    systemctl enable --quiet nftables.service
    systemctl restart nftables.service
    update-ca-certificates --fresh >/dev/null 2>&1
}

cache() {
    systemctl stop "$CACHE-server.service"
    systemctl enable --quiet --now "$SITE-cache.service"
    "$CACHE-cli" -s "/run/$SITE-cache/cache.sock" ping >/dev/null
}

database() {
    for kind in hba ident; do
        cat "/etc/postgresql/$POSTGRESQL/main/slipway.d/$kind/"*.conf >"/etc/postgresql/$POSTGRESQL/main/pg_$kind.conf"
    done
    systemctl reload "postgresql@$POSTGRESQL-main.service"
    query --dbname=postgres <<SQL
CREATE ROLE "$SITE" LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS;
CREATE DATABASE "$SITE" OWNER "$SITE" ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8' TEMPLATE template0;
REVOKE ALL ON DATABASE "$SITE" FROM PUBLIC;
SQL
}

certificate() {
    mkdir -p "$tls/versions/plain"
    openssl ecparam -name secp384r1 -genkey -noout -out ca.key
    openssl req -x509 -new -key ca.key -days 3650 -subj "/CN=Plain CA" -out ca.crt \
        -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign
    (
        umask 077
        openssl ecparam -name prime256v1 -genkey -noout -out "$tls/versions/plain/privkey.pem"
    )
    openssl req -new -key "$tls/versions/plain/privkey.pem" -subj "/CN=$DOMAIN" -out request.pem
    cat >extensions <<EXT
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:$DOMAIN
EXT
    openssl x509 -req -in request.pem -CA ca.crt -CAkey ca.key -CAcreateserial -days 90 -extfile extensions \
        -out leaf.pem 2>/dev/null
    cat leaf.pem ca.crt >"$tls/versions/plain/fullchain.pem"
    ln -sfn versions/plain "$tls/current"
}

edge() {
    nginx -t -q
    systemctl enable --quiet nginx.service
    systemctl restart nginx.service
}

# The release's own Python runs manage.py's commands in one process, with the secrets as systemd gives them.
manage() {
    account=$1
    shift
    credentials=$(mktemp -d -p /run)
    cp "/etc/slipway/$SITE/credentials/"* "$credentials/"
    chown -R "$account:" "$credentials"
    (
        set -a
        # shellcheck source=/dev/null
        . "$target/environment"
        # shellcheck source=/dev/null
        . "$here/superuser"
        set +a
        cd "$target/project"
        CREDENTIALS_DIRECTORY=$credentials HOME=$kept runuser -u "$account" -- "$target/venv/bin/python" - "$@"
    )
    rm -r "$credentials"
}

compress() {
    as "$SITE-build" /usr/bin/python3 - "$kept/compressed" "$target/static" "$target/client" <<'PYTHON'
import concurrent.futures, gzip, hashlib, os, pathlib, sys
import brotli
TYPES = set(".css .csv .eot .html .ico .js .json .map .md .mjs .otf .svg .ttf .txt .wasm .webmanifest .xml".split())
cache, *roots = map(pathlib.Path, sys.argv[1:])
same = {}
for root in roots:
    for path in root.rglob("*"):
        if path.suffix in TYPES and path.is_file() and path.stat().st_size >= 512:
            content = path.read_bytes()
            same.setdefault(hashlib.sha256(content).hexdigest(), (content, []))[1].append(path)
def work(item):
    name, (content, paths) = item
    quality = 5 if paths[0].suffix == ".map" else 11
    for suffix, make in ((".gz", lambda: gzip.compress(content, 9, mtime=0)), (".br", lambda: brotli.compress(content, quality=quality))):
        kept = cache / (name + suffix)
        if not kept.exists():
            kept.write_bytes(make())
        if kept.stat().st_size < len(content):
            for path in paths:
                os.link(kept, str(path) + suffix)
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    list(pool.map(work, sorted(same.items(), key=lambda item: -len(item[1][0]))))
PYTHON
}

tool() {
    [ ! -x "/opt/slipway/uv-$UV/bin/uv" ] || return 0
    python3 -m venv --without-pip "/opt/slipway/uv-$UV"
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt "/opt/slipway/uv-$UV/bin/python" "$(echo /usr/share/python-wheels/pip-*.whl)/pip" install --quiet \
        --disable-pip-version-check --require-hashes --requirement uv.txt
}

release() {
    target=$home/releases/$1
    old=$(readlink "$home/current" 2>/dev/null | sed 's|.*/||' || echo "")
    mkdir -p "$home/releases" "$state/media" "$target"
    install -d -o "$SITE-build" -g "$SITE-build" "$home/static" "$kept" "$kept/uv" "$kept/compressed" \
        "$target/app" "$target/client" "$target/venv" "$target/static"
    chown "$SITE:" "$state" "$state/media"
    sed "s|@RELEASE@|$1|g" environment >"$target/environment"
    tar -x -p -f overlay.tar -C "$target"
    as "$SITE-build" tar -x -z -f - -C "$target" <source.tar.gz
    ln -s app "$target/project"
    tool
    (
        cd "$target/app"
        as "$SITE-build" UV_CACHE_DIR="$kept/uv" UV_COMPILE_BYTECODE=1 UV_NO_CONFIG=1 UV_NO_PROGRESS=1 \
            UV_PROJECT_ENVIRONMENT="$target/venv" UV_PYTHON=/usr/bin/python3 UV_PYTHON_DOWNLOADS=never \
            "/opt/slipway/uv-$UV/bin/uv" sync --quiet --locked --no-dev --no-editable
    )
    manage "$SITE-build" <<'PYTHON'
import sys; sys.path.insert(0, "")
from django.core.management import execute_from_command_line as run
run(["manage.py", "collectstatic", "--noinput", "--verbosity", "0", "--skip-checks"])
PYTHON
    compress
    manage "$SITE" <<'PYTHON'
import os, sys; sys.path.insert(0, "")
from django.core.management import execute_from_command_line as run
run(["manage.py", "check", "--deploy", "--fail-level", "WARNING"])
run(["manage.py", "migrate", "--noinput", "--skip-checks", "--verbosity", "0"])
from django.contrib.auth import get_user_model
if not get_user_model().objects.filter(username=os.environ["DJANGO_SUPERUSER_USERNAME"]).exists():
    run(["manage.py", "createsuperuser", "--noinput", "--skip-checks"])
PYTHON
    (
        cd "$target/static"
        find . -type f -regextype posix-extended -regex '.*\.[0-9a-f]{12}\.[^/]+' -print0 |
            xargs -0 cp --link --parents --update=none -t "$home/static"
    )
    now=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
    printf '{"id": "%s", "site": "%s", "state": "live", "inputs": "", "ready_at": "%s", "live_at": "%s"}\n' \
        "$1" "$SITE" "$now" "$now" >"$target/release.json"
    systemctl enable --quiet --now "$SITE.socket"
    systemctl start "$SITE@$1.service"
    systemctl enable --quiet "$SITE@$1.service"
    ln -s "releases/$1" "$home/.current"
    mv -T "$home/.current" "$home/current"
    if [ -n "$old" ]; then
        systemctl disable --quiet "$SITE@$old.service"
        systemctl stop --no-block "$SITE@$old.service"
    fi
}

look() {
    sha256sum --check --quiet --strict checksums
    xargs dpkg-query --status <packages >/dev/null
    serving=$(readlink "$home/current" | sed 's|.*/||')
    for unit in nftables "postgresql@$POSTGRESQL-main" "$SITE-cache" nginx "$SITE@$serving"; do
        systemctl is-active --quiet "$unit.service"
    done
    query --dbname=postgres --command="SELECT 1 FROM pg_database WHERE datname = '$SITE'" | grep -qx 1
    openssl x509 -noout -checkend 2592000 -in "$tls/current/fullchain.pem" >/dev/null
}

case $1 in
site)
    echo "$(date +%s.%N) start"
    for step in packages base cache database certificate edge; do
        $step
        echo "$(date +%s.%N) $step"
    done
    release "$2"
    echo "$(date +%s.%N) release"
    ;;
release) release "$2" ;;
look) look ;;
*)
    echo "plain.sh site|release RELEASE, or look" >&2
    exit 2
    ;;
esac
