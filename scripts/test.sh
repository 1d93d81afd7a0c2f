#!/bin/sh
# test.sh unit|system...: runs the tests and prints, last, "N passed, N failed" over all of them; fails when one did.
#   unit    each build/unit/test_* prints TAP; one that dies counts as a failure
#   system  tests/system/run ends with a line "N passed, N failed" of its own
set -u
cd "$(dirname "$0")/.."
build=${BUILD:-build}
passed=0 failed=0

unit_tests() {
    for test in "$build"/unit/test_*; do
        case $test in *.*|*'*') continue ;; esac
        log=$test.log
        CMOCKA_MESSAGE_OUTPUT=TAP timeout 120 "$test" >"$log" 2>&1 </dev/null
        status=$?
        good=$(grep -c '^ok ' "$log")
        bad=$(grep -c '^not ok ' "$log")
        # The exit status of cmocka is the number of failures; anything else is a crash or a sanitizer's report.
        [ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
        [ "$good" -eq 0 ] && [ "$bad" -eq 0 ] && bad=1
        passed=$((passed + good)) failed=$((failed + bad))
        printf '%-40s %3d passed, %d failed\n' "unit ${test##*/}" "$good" "$bad"
        [ "$bad" -eq 0 ] || { cat "$log"; echo "(exit status $status)"; }
    done
}

system_tests() {
    log=$build/system.log
    { tests/system/run 2>&1 </dev/null; echo "status $?" >"$log.status"; } | tee "$log"
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -1)
    good=${line%% *} bad=${line#*, } bad=${bad%% *}
    if [ -z "$line" ]; then
        echo "tests/system/run did not finish"
        good=0 bad=1
    elif [ "$bad" -eq 0 ] && [ "$(cat "$log.status")" != "status 0" ]; then
        bad=1
    fi
    passed=$((passed + good)) failed=$((failed + bad))
}

for group in "$@"; do
    "${group}_tests"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
