# busybox on real files: run in a directory with the inputs (words.txt, table.tsv, noise.bin), with $BB being busybox. The same
# script runs on Linux; only what does not depend on the machine may be printed.
umask 022
export LC_ALL=C TZ=UTC
run() { echo "== $*"; "$BB" "$@" 2>&1 || echo "status $?"; }

run sha256sum words.txt noise.bin
run sha1sum words.txt
run sha512sum noise.bin
run sha3sum noise.bin
run md5sum words.txt
run crc32 noise.bin
run wc words.txt table.tsv noise.bin
run head -n 3 words.txt
run tail -n 3 words.txt
run tail -c 20 words.txt
run tac table.tsv
run rev table.tsv
run nl table.tsv
run sort words.txt | "$BB" md5sum
run sort -t "$(printf '\t')" -k2 -n table.tsv
run sort -u -r table.tsv
run uniq -c table.tsv
run cut -f2,3 table.tsv
run cut -c1-4 table.tsv
run paste table.tsv table.tsv
run fold -w 20 table.tsv
run expand table.tsv
run unexpand -a table.tsv
run tr a-z A-Z <table.tsv
run grep -n gamma table.tsv
run grep -c a words.txt
run egrep '^(al|de)' table.tsv
run fgrep -v alpha table.tsv
run sed -e 's/alpha/ALPHA/' -e '/beta/d' -e '$a\the end' table.tsv
run awk '{ sum += $2; n[$1]++ } END { print sum, n["alpha"]; printf "%.3f\n", sum / NR }' table.tsv
run awk 'BEGIN { for (i = 0; i < 20000; i++) x = (x * 31 + i) % 65521; print x, length("hello"), substr("substring", 4, 3) }'
run od -A x -t x1 -N 64 noise.bin
run od -c -N 40 table.tsv
run hexdump -C -n 48 noise.bin
run xxd -l 32 noise.bin
run base64 -w 40 table.tsv
run uuencode noise.bin name | "$BB" md5sum
run strings -n 5 table.tsv
run dd if=noise.bin of=piece bs=512 skip=3 count=4 2>/dev/null
run md5sum piece
run dd if=/dev/zero of=zeros bs=4096 count=3 seek=2 2>/dev/null
run stat -c '%n %s %F %a' zeros piece
run gzip -k words.txt
run zcat words.txt.gz | "$BB" md5sum
run gunzip -c words.txt.gz | "$BB" wc
run bzip2 -k words.txt
run bzcat words.txt.bz2 | "$BB" md5sum
rm words.txt.gz words.txt.bz2
run mkdir -p tree/a/b/c tree/d
run cp words.txt tree/a/b
run cp table.tsv tree/d/copy
run ln tree/d/copy tree/d/hard
run ln -s ../d/copy tree/a/soft
run touch -d '2001-02-03 04:05:06' tree/a/b/words.txt tree/d/copy tree/d tree/a/b/c tree/a/b tree/a tree
run touch -h -d '2001-02-03 04:05:06' tree/a/soft
run tar -cf tree.tar tree
# The order within a directory is the file system's own affair too.
run tar -tvf tree.tar | "$BB" awk '{ $2 = "-" } $6 !~ /copy|hard/' | "$BB" sort
run mkdir out
run tar -xf tree.tar -C out
run diff -r tree out/tree
"$BB" tar -cf - tree | "$BB" gzip -c >tree.tgz
"$BB" gunzip -c tree.tgz | run tar -tf - | "$BB" sort
run find tree -type f -name '*o*' | "$BB" sort
run find tree -depth | "$BB" sort
run find tree -type f -exec "$BB" wc -c {} \; | "$BB" sort
run find tree -mindepth 2 -maxdepth 2 -type d -print0 | "$BB" sort -z | "$BB" tr '\0' ' '
"$BB" find tree -type f | "$BB" sort | run xargs -n 1 basename
# Owners, the sizes of directories and sums of blocks are the file system's own affair.
run ls -lR tree | "$BB" awk '/^total/ { next } /^d/ { $5 = "-" } NF > 6 { $3 = $4 = "-" } { print }'
run ls -la tree/d | "$BB" wc -l
run du -a tree/a | "$BB" cut -f2 | "$BB" sort
run readlink tree/a/soft
"$BB" realpath tree/a/soft | "$BB" grep -c 'tree/d/copy$'
run dirname tree/a/b/words.txt
run basename tree/a/b/words.txt .txt
run mv tree/d/copy tree/d/moved
run chmod 750 tree/d/moved
run stat -c '%n %a %h %s %Y' tree/d/moved
"$BB" find tree | "$BB" sort | "$BB" cpio -o -H newc 2>/dev/null | "$BB" cpio -t 2>/dev/null
run ar -t nothing.a
sed s/gamma/GAMMA/ table.tsv >changed.tsv
run diff -u -L a -L b table.tsv changed.tsv
"$BB" diff -u table.tsv changed.tsv >change.patch
run cp table.tsv patched.tsv
run patch patched.tsv change.patch
run cmp patched.tsv changed.tsv
printf '2i\ninserted\n.\n$p\nw\nq\n' | run ed patched.tsv
run rm -r tree out tree.tar tree.tgz
run ls -F | "$BB" grep -v /
echo 'scale=30; 4*a(1); 2^200; sqrt(2)' | run bc -l
echo '2 3 + p 7 * p 100 ^ p' | run dc
run expr 17 '*' 3
run expr abcdef : 'abc\(.*\)'
run factor 1234567890 97 1000003
run seq -w 8 11
run printf '%05d|%-8s|%x|%c\n' 42 text 255 z
run date -d '@1000000000' '+%Y-%m-%d %H:%M:%S %a %j'
run date -u -d '2024-02-29 12:00' +%s
run cal 2 2024
run env -i A=1 "$BB" env
run which sh >/dev/null
run test -f words.txt
run test -d words.txt
run true
run false
run echo one two
echo through tee | run tee teed
run cat teed
run truncate -s 12345 teed
run stat -c %s teed
run mkfifo fifo
(echo through a fifo >fifo &) ; run cat fifo
run mktemp -d dir.XXXXXX >/dev/null
run yes | "$BB" head -n 3
run timeout 1 "$BB" sleep 10
run usleep 1000
run nproc >/dev/null
run uname -s
run id -u >/dev/null
run dos2unix -u table.tsv
run getopt -o ab: -- -a -b value rest
run mkpasswd -m md5 -S saltsalt secret
run ascii | "$BB" md5sum
run ipcalc -n 10.1.2.3/20
run shuf -i 1-9 | "$BB" sort | "$BB" tr -d '\n'
echo
run who >/dev/null
run od -c nothing
run rm nothing
run sync
run fallocate -l 5000 allocated
run wc -c allocated
for i in 1 2 3; do echo $i; done | while read n; do echo $((n * n)); done
echo "$(echo nested $(echo deeper))"
cat <<END
here document $((1 + 2))
END
trap 'echo bye' EXIT
(exit 3) || echo "subshell $?"
"$BB" sh -c 'kill -TERM $$'; echo "killed $?"
