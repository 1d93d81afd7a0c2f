# The server that entrypoint.sh ends in: shows what it was given, serves until SIGTERM.
[ "$$" = "$ENTRYPOINT_PID" ] && echo "took the entrypoint's place"
echo "arguments: $*"
cat "$CONF"
for table in "$DATA_DIR"/tables/*; do echo "${table##*/}:"; cat "$table"; done
ls "$DATA_DIR"
trap 'echo "stopping"; exit 0' TERM
(sleep 0.1; kill -TERM "$ENTRYPOINT_PID") &
echo "ready"
while :; do wait; sleep 0.02; done
