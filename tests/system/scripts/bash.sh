# bash's own doing only: builtins, arithmetic, arrays, patterns, functions, here documents, substitutions, loops.
set -u
echo "$((2 ** 62)) $((-7 / 2)) $((-7 % 3)) $((0xff & 0x0f)) $((1 << 40)) $((5 > 3 ? 10 : 20))"
sum=0
for ((i = 0; i < 30000; i++)); do ((sum = (sum * 31 + i) % 1000003)); done
echo "sum $sum"
declare -a squares
for i in {1..50}; do squares[i]=$((i * i)); done
echo "${squares[@]:10:5} ${#squares[@]}"
declare -A colours=([red]=1 [green]=2 [blue]=3)
for k in $(printf '%s\n' "${!colours[@]}" | while read -r l; do echo "$l"; done); do total=$((${total:-0} + ${colours[$k]})); done
echo "total $total"
text="The quick brown fox jumps over the lazy dog"
echo "${text^^}" "${text,,}" "${text//o/0}" "${text#* }" "${text##* }" "${text%% *}" "${#text}" "${text:4:5}"
[[ $text =~ (q[a-z]+)\ (b[a-z]+) ]] && echo "${BASH_REMATCH[1]} ${BASH_REMATCH[2]}"
case $text in *fox*) echo "a fox" ;; esac
fib() { local n=$1; ((n < 2)) && { echo "$n"; return; }; local a b; a=$(fib $((n - 1))); b=$(fib $((n - 2))); echo $((a + b)); }
echo "fib $(fib 8)"
primes=()
for ((n = 2; ${#primes[@]} < 100; n++)); do
    for p in "${primes[@]}"; do ((p * p > n)) && break; ((n % p == 0)) && continue 2; done
    primes+=("$n")
done
echo "primes ${primes[*]: -5}"
printf '%-10s|%5.2f|%q|%(%Y)T\n' left 3.14159 'a b' 86400
mapfile -t lines <<<$'one\ntwo\nthree'
echo "${#lines[@]} ${lines[2]}"
IFS=: read -r a b c <<<"x:y:z"
echo "$c$b$a"
while read -r word count; do echo "$count $word"; done <<END
apple 3
pear 5
END
exec 5>bash.tmp
echo "written" >&5
exec 5>&-
trap 'echo "usr1"' USR1
kill -USR1 $$
(trap - USR1; exit 9)
echo "subshell $?"
set -- alpha beta gamma
shift
echo "$# $1 $*"
while getopts ab:c opt -a -b value; do echo "option $opt ${OPTARG:-}"; done
echo {a,b}{1,2} {01..05} ~+/ >/dev/null
type -t echo fib
(ulimit -n 50; ulimit -n)
sorted() { local x; for x in "$@"; do :; done; echo "$#"; }
sorted {1..1000}
coproc_out=$(echo inner | { read -r x; echo "got $x"; })
echo "$coproc_out"
time_start=$SECONDS; [[ $SECONDS -ge $time_start ]] && echo "seconds"
[[ $BASH_VERSION == 5.* ]] && echo "bash 5"
echo "${RANDOM:+random}" "${UNSET:-default}" "${text/quick/slow}"
wait; true & wait $!; echo "waited $?"
{ sleep_pid=$!; } 2>/dev/null
exit 17
