#!/bin/sh
# deps.sh GROUP...: installs through apt those packages of scripts/packages.txt that the groups need and that are
# missing. Says and does nothing when all are there.
set -eu

list=$(dirname "$0")/packages.txt
command -v dpkg-query >/dev/null || exit 0 # not Debian: whoever builds here knows what to install

missing=
for group in "$@"; do
    for package in $(awk -v g="$group" '$1 == g { print $2 }' "$list"); do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$status" = installed ] || missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "missing packages (apt-get install them as root):$missing" >&2; exit 1; }
    sudo=sudo
fi

echo "installing:$missing" >&2
install() {
    # shellcheck disable=SC2086 -- a list of words
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing </dev/null >&2
}
# The package lists may be missing or old: get them only when the first try fails.
install || { $sudo apt-get update -q >&2 && install; }
