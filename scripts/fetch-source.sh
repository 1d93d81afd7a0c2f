#!/bin/sh
# fetch-source.sh NAME DIR: unpacks the upstream archive of a Debian source package into DIR/NAME. The archive is fetched with apt
# through a private list made from the machine's own, with deb-src, and must have the checksum written in sources.sha256. It stays
# in DIR: what was fetched or unpacked once is not fetched or unpacked again, without a network as well. Nothing is installed. Two that run at once
# wait for each other, and DIR/NAME is whole at any moment it exists.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
name=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)

line=$(grep "^[0-9a-f]*  ${name}_" "$here/sources.sha256") || { echo "fetch-source: no checksum of $name in sources.sha256" >&2; exit 2; }
archive=${line#*  }
current() { [ "$(cat "$dir/$name/.checksum" 2>/dev/null)" = "$line" ]; }
good() { (cd "$dir" && echo "$line" | sha256sum --check --status 2>/dev/null); }

fetch() {
    apt=$dir/apt-$name
    rm -rf "$apt"
    mkdir -p "$apt/sources" "$apt/lists/partial"
    for list in /etc/apt/sources.list.d/*.sources; do
        [ -f "$list" ] && sed 's/^Types:.*/Types: deb-src/' "$list" >"$apt/sources/$(basename "$list")"
    done
    for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$list" ] && sed -n 's/^deb /deb-src /p' "$list" >"$apt/sources/$(basename "$list" .list).list"
    done
    options="-q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=$apt/sources -o Dir::State::Lists=$apt/lists
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root"
    # shellcheck disable=SC2086 -- a list of words
    (cd "$apt" && apt-get $options update && apt-get $options source --download-only "$name") >"$apt/log" 2>&1 || true
    if [ -f "$apt/$archive" ]; then
        mv "$apt/$archive" "$dir/$archive"
    else
        tail -n 5 "$apt/log" >&2
        echo "fetch-source: apt could not fetch $archive (is there a network, and a Debian source list?)." >&2
        echo "fetch-source: without them, put the file into $dir and try again." >&2
        exit 1
    fi
    rm -rf "$apt"
    good || { echo "fetch-source: $dir/$archive does not have the checksum that sources.sha256 demands" >&2; exit 1; }
}

exec 9>"$dir/.$name.lock"
flock 9
current && exit 0
good || fetch
rm -rf "$dir/$name.new"
mkdir "$dir/$name.new"
tar -C "$dir/$name.new" --strip-components=1 -xf "$dir/$archive" || { echo "fetch-source: cannot unpack $archive" >&2; exit 1; }
echo "$line" >"$dir/$name.new/.checksum"
rm -rf "${dir:?}/$name"
mv "$dir/$name.new" "$dir/$name"
