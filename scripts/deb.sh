#!/bin/sh
# deb.sh: makes BUILD/knarr_VERSION_amd64.deb of what was built in BUILD: program, kernel, manual pages, completion, documents. The same tree gives the
# same bytes: times are those of the last commit (or SOURCE_DATE_EPOCH).
set -eu

build=${BUILD:-build}
version=$("$build/knarr" version | cut -d' ' -f2)
top=$(cd "$(dirname "$0")/.." && pwd)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$top" log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
root=$tree/root
mkdir -p "$root/usr/bin" "$root/usr/lib/knarr" "$root/usr/share/doc/knarr" "$root/usr/share/man/man1" \
    "$root/usr/share/bash-completion/completions" "$root/DEBIAN" "$tree/debian"
chmod 755 "$root"

install -m 755 "$build/knarr" "$root/usr/bin/knarr"
strip --strip-unneeded "$root/usr/bin/knarr"
install -m 644 "$build/knarr.elf" "$root/usr/lib/knarr/knarr.elf"
install -m 644 "$top/README.md" "$top"/docs/*.md "$root/usr/share/doc/knarr/"
install -m 644 "$top/scripts/completion.bash" "$root/usr/share/bash-completion/completions/knarr"
python3 "$top/scripts/manpages.py" "$build/knarr" "$root/usr/share/man/man1"
gzip -9n "$root"/usr/share/man/man1/*.1

# What the program is linked with, as Debian's own tool finds it; what it loads when it is needed comes behind.
printf 'Source: knarr\n\nPackage: knarr\nArchitecture: amd64\n' >"$tree/debian/control"
linked=$(cd "$tree" && dpkg-shlibdeps -O root/usr/bin/knarr 2>/dev/null | sed -n 's/^shlibs:Depends=//p')

cat >"$root/DEBIAN/control" <<END
Package: knarr
Version: $version
Architecture: amd64
Maintainer: The developers of Knarr <knarr@localhost>
Section: admin
Priority: optional
Installed-Size: $(du -sk --apparent-size "$root/usr" | cut -f1)
Depends: $linked, qemu-system-x86, libarchive13, libnettle8
Recommends: grub-common, grub-pc-bin, grub-efi-amd64-bin, mtools, qemu-utils, libcurl4, libzstd1, libcapstone4
Suggests: skopeo, buildah
Description: runs unmodified Linux programs as unikernels
 A small kernel boots in a virtual machine, loads an ordinary Linux program into its own address space and answers the program's
 system calls itself. The program knarr turns container images and programs into bootable images and runs them with the habits
 of docker run.
END
chmod 644 "$root/DEBIAN/control"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$root" "$build/knarr_${version}_amd64.deb" >/dev/null
echo "$build/knarr_${version}_amd64.deb"
