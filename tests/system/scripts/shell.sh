# What entrypoints and build scripts do with processes, in the language that every shell speaks: pipelines, background jobs,
# traps, here-documents, command substitution. Run by dash, busybox and bash; what it prints is the same with each.
set -u
say() { printf '%s\n' "$*"; }

say "-- pipelines"
seq 1 1000 | grep 7 | sort -r | head -n 5 | tr '\n' ' '; echo
seq 1 20000 | cat | cat | cat | wc -l
yes line | head -n 3
false | true; say "last of a pipeline: $?"
(exit 3) | (cat; exit 4); say "$?"
! true; say "not: $?"
{ echo one; echo two >&2; echo three; } 2>/dev/null | wc -l
echo "in a group" | { read -r word rest; say "$word, $rest"; }
seq 1 50 | while read -r n; do [ $((n % 10)) -eq 0 ] && echo "$n"; done | tr '\n' ' '; echo

say "-- substitution"
say "nested: $(echo "$(echo "$(echo deep)er")") $(printf '%s' 'trailing

')."
big=$(seq 1 5000); say "${#big} characters"
x=$(exit 5); say "status: $?"
say "`echo back quotes`"
say "arithmetic $(( $(echo 6) * 7 ))"
x=$(cat <<END
a document in a substitution: $(echo expanded) \$literal
END
); say "$x"

say "-- here-documents"
name=world
cat <<END
hello $name, $((1 + 1)), $(echo sub)
END
cat <<'END'
nothing $name `here` $((1 + 1))
END
cat <<-END
	tabs are cut
		all of them
	END
{ cat <<ONE; cat <<TWO; }
first
ONE
second
TWO
wc -l <<END
$(seq 1 3000)
END

say "-- background jobs"
sleep 0.01 & a=$!
sleep 0.02 & b=$!
wait $a; say "a $?"
wait $b; say "b $?"
(exit 7) & wait $!; say "status $?"
for i in 1 2 3 4 5 6 7 8; do (exit "$i") & pids="${pids:-} $!"; done
sum=0; for p in $pids; do wait "$p"; sum=$((sum + $?)); done; say "sum of the ends: $sum"
sleep 100 & victim=$!
kill "$victim"; wait "$victim"; say "killed: $?"
sleep 100 & victim=$!
kill -KILL "$victim"; wait "$victim"; say "killed hard: $?"
wait; say "nobody left: $?"
wait 999999 2>/dev/null; say "not a child: $?"
out=$( (sleep 0.05; echo late) & echo early; wait ); say $out
n=0; while [ $n -lt 40 ]; do : & n=$((n + 1)); done; wait; say "forty at once"

say "-- traps"
trap 'say "usr1 came"' USR1
kill -USR1 $$
say "after usr1"
sh -c 'trap "echo in the child; exit 6" TERM; kill -TERM $$; echo "not reached"'; say "$?"
trap '' INT; kill -INT $$; say "int ignored"
trap - INT
sh -c 'trap "echo bye; exit 3" EXIT; exit 1'; say "exit trap: $?"
sh -c 'kill -TERM $$'; say "by term: $?"
sh -c 'kill -SEGV $$' 2>/dev/null; say "by segv: $?"
sh -c 'trap "" TERM; kill -TERM $$; echo survived'
trap 'say "term while waiting"' TERM
(sleep 0.1; kill -TERM $$) &
sleep 5 & long=$!
wait "$long"; [ $? -gt 128 ] && say "wait was interrupted"
kill "$long" 2>/dev/null; wait 2>/dev/null
trap - TERM USR1

say "-- redirection"
exec 3>out.tmp; echo three >&3; exec 3>&-; cat out.tmp
exec 4<out.tmp; read -r line <&4; say "$line"; exec 4<&-
{ echo out; echo err >&2; } >both.tmp 2>&1; wc -l <both.tmp
echo more >>out.tmp; wc -l <out.tmp
(cat <&5) 5<out.tmp | tail -n 1
cat missing.file 2>/dev/null || say "missing: $?"
echo x 2>/dev/null >&2; say "after"
set -C; (echo clobber >out.tmp) 2>/dev/null || say "noclobber"; set +C
: >empty.tmp; [ -s empty.tmp ] || say "empty"
mkfifo fifo.tmp; (echo through the fifo >fifo.tmp) & cat fifo.tmp; wait

say "-- conditions and limits"
(ulimit -n 20; ulimit -n)
(umask 027; : >mask.tmp; ls -l mask.tmp | cut -c1-10)
command -v sh >/dev/null && say "sh is there"
no_such_command_at_all 2>/dev/null; say "not found: $?"
./out.tmp 2>/dev/null; say "not executable: $?"
(cd tmp && echo "${PWD##*/}")
set -- a "b c" d; for w; do printf '[%s]' "$w"; done; echo
env -i VAR=value sh -c 'echo "$VAR${HOME-}"'
xargs -n 2 echo <<END
1 2 3 4 5
END
find . -name '*.tmp' | sort | tr '\n' ' '; echo
rm -f ./*.tmp
exit 42
