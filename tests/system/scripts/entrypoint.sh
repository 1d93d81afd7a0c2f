#!./bin/dash
# The entrypoint of an imagined database image, in the manner of those on the hubs: it reads its settings from the environment
# and from files, prepares a data directory, starts a temporary server to fill it, runs the scripts of the image's user,
# writes the configuration, and gives its place to the server itself.
set -eu

# ---- messages ----------------------------------------------------------------------------------------------------------

LOG_LEVEL=${LOG_LEVEL:-note}

log() {
    level=$1
    shift
    case $LOG_LEVEL/$level in
    quiet/note | quiet/debug | note/debug) return 0 ;;
    esac
    printf '[entrypoint] [%s]: %s\n' "$level" "$*"
}

note() { log note "$@"; }
debug() { log debug "$@"; }
warn() { log warning "$@" >&2; }

die() {
    log error "$@" >&2
    exit 1
}

# ---- settings ------------------------------------------------------------------------------------------------------------

# file_env VAR [DEFAULT]: VAR from the environment, or from the file that VAR_FILE names, or the default.
file_env() {
    var=$1
    default=${2:-}
    eval "value=\${$var:-}"
    eval "file=\${${var}_FILE:-}"
    if [ -n "$value" ] && [ -n "$file" ]; then
        die "both $var and ${var}_FILE are set"
    fi
    if [ -n "$file" ]; then
        [ -r "$file" ] || die "$file cannot be read"
        value=$(cat "$file")
    fi
    [ -n "$value" ] || value=$default
    eval "$var=\$value"
    export "$var"
    unset "${var}_FILE"
}

setup_env() {
    file_env DB_USER app
    file_env DB_PASSWORD
    file_env DB_NAME "$DB_USER"
    file_env DB_PORT 5432
    file_env DB_THREADS "$(nproc_or 1)"
    DATA_DIR=${DATA_DIR:-$PWD/data}
    INIT_DIR=${INIT_DIR:-$PWD/init.d}
    CONF=$DATA_DIR/server.conf
    export DATA_DIR INIT_DIR CONF
}

nproc_or() {
    echo "$1"
}

verify_env() {
    case $DB_PORT in
    '' | *[!0-9]*) die "DB_PORT is not a number: $DB_PORT" ;;
    esac
    if [ "$DB_PORT" -lt 1 ] || [ "$DB_PORT" -gt 65535 ]; then
        die "DB_PORT is out of range: $DB_PORT"
    fi
    if [ -z "$DB_PASSWORD" ] && [ -z "${DB_ALLOW_EMPTY_PASSWORD:-}" ]; then
        die "no password: set DB_PASSWORD, DB_PASSWORD_FILE or DB_ALLOW_EMPTY_PASSWORD"
    fi
    if [ "${#DB_PASSWORD}" -ge 100 ]; then
        warn "the password is longer than 99 characters"
    fi
    for name in "$DB_USER" "$DB_NAME"; do
        case $name in
        *[!a-z0-9_]*) die "a name may have a-z, 0-9 and _ only: $name" ;;
        esac
    done
    unset name
}

# ---- the data directory ----------------------------------------------------------------------------------------------------

create_directories() {
    mkdir -p "$DATA_DIR" "$DATA_DIR/tables" "$DATA_DIR/log"
    chmod 0700 "$DATA_DIR"
    if [ "$(id -u)" = 0 ]; then
        find "$DATA_DIR" ! -user 0 -exec chown 0 '{}' +
    fi
}

is_initialised() {
    [ -s "$DATA_DIR/VERSION" ]
}

write_version() {
    umask 077
    echo 1 >"$DATA_DIR/VERSION.new"
    mv "$DATA_DIR/VERSION.new" "$DATA_DIR/VERSION"
    umask 022
}

# A table is a file of lines; the first line names its columns.
create_table() {
    table=$DATA_DIR/tables/$1
    shift
    (
        IFS=,
        echo "$*"
    ) >"$table"
}

insert() {
    table=$DATA_DIR/tables/$1
    shift
    [ -f "$table" ] || die "no table ${table##*/}"
    (
        IFS=,
        echo "$*"
    ) >>"$table"
}

# ---- the temporary server -----------------------------------------------------------------------------------------------

# It reads commands from a FIFO until it is told to stop by SIGTERM.
temporary_server() {
    trap 'running=' TERM
    trap 'rm -f "$DATA_DIR/fifo"' EXIT
    running=yes
    : >"$DATA_DIR/ready"
    while [ -n "$running" ]; do
        if read -r command rest; then
            case $command in
            create) create_table $rest ;;
            insert) insert $rest ;;
            stop) running= ;;
            *) warn "unknown command: $command" ;;
            esac
        fi
    done <"$DATA_DIR/fifo"
    exit 0
}

start_temporary_server() {
    rm -f "$DATA_DIR/fifo" "$DATA_DIR/ready"
    mkfifo "$DATA_DIR/fifo"
    (temporary_server) &
    server=$!
    exec 9>"$DATA_DIR/fifo"
    tries=0
    until [ -e "$DATA_DIR/ready" ]; do
        tries=$((tries + 1))
        [ "$tries" -le 200 ] || die "the temporary server does not start"
        kill -0 "$server" 2>/dev/null || die "the temporary server has died"
        sleep 0.05
    done
    debug "temporary server is ready"
}

query() {
    printf '%s\n' "$*" >&9
}

stop_temporary_server() {
    query stop
    exec 9>&-
    if wait "$server"; then
        note "temporary server stopped"
    else
        die "the temporary server failed: $?"
    fi
    rm -f "$DATA_DIR/ready"
    unset server
}

# ---- what the user of the image adds ----------------------------------------------------------------------------------------

process_init_files() {
    [ -d "$INIT_DIR" ] || return 0
    for f in "$INIT_DIR"/*; do
        base=${f##*/}
        case $f in
        *.sh)
            if [ -x "$f" ]; then
                note "running $base"
                "$f"
            else
                note "sourcing $base"
                . "$f"
            fi
            ;;
        *.sql)
            note "reading $base"
            while IFS= read -r line || [ -n "$line" ]; do
                case $line in
                '' | '#'*) continue ;;
                esac
                query "$line"
            done <"$f"
            ;;
        *.sql.gz)
            note "unpacking $base"
            gunzip -c "$f" | while IFS= read -r line; do
                query "$line"
            done
            ;;
        *) warn "ignoring $base" ;;
        esac
    done
}

# ---- configuration -----------------------------------------------------------------------------------------------------------

write_configuration() {
    hash=$(printf '%s' "$DB_PASSWORD" | sha256sum | cut -d ' ' -f 1)
    cat >"$CONF.new" <<-END
	# written by the entrypoint
	port = $DB_PORT
	user = $DB_USER
	database = $DB_NAME
	password_sha256 = $hash
	threads = $DB_THREADS
	cache = @CACHE@
	END
    for setting in $(env | sed -n 's/^DB_CONF_\([A-Z_]*\)=.*/\1/p' | sort); do
        eval "value=\$DB_CONF_$setting"
        key=$(printf '%s' "$setting" | tr 'A-Z' 'a-z')
        if grep -q "^$key = " "$CONF.new"; then
            sed -i "s|^$key = .*|$key = $value|" "$CONF.new"
        else
            echo "$key = $value" >>"$CONF.new"
        fi
    done
    sed -i "s/@CACHE@/$((64 * 1024))/" "$CONF.new"
    mv "$CONF.new" "$CONF"
    unset DB_PASSWORD
}

# ---- what the server needs from elsewhere ------------------------------------------------------------------------------

# DB_WAIT_FOR="FILE FILE ...": waits until all of them are there, for DB_WAIT_SECONDS each.
wait_for() {
    [ -n "${DB_WAIT_FOR:-}" ] || return 0
    for f in $DB_WAIT_FOR; do
        left=$((${DB_WAIT_SECONDS:-5} * 20))
        until [ -e "$f" ]; do
            left=$((left - 1))
            if [ "$left" -le 0 ]; then
                die "$f has not appeared"
            fi
            sleep 0.05
        done
        debug "$f is there"
    done
}

# ---- the story -----------------------------------------------------------------------------------------------------------------

initialise() {
    note "initialising"
    start_temporary_server
    query "create users name role"
    query "insert users $DB_USER owner"
    process_init_files
    stop_temporary_server
    write_version
    note "initialised"
}

main() {
    # Options alone are the server's.
    if [ $# -eq 0 ] || [ "${1#-}" != "$1" ]; then
        set -- ./bin/ash ./server.sh "$@"
    fi
    if [ "$1" != ./bin/ash ]; then
        exec "$@"
    fi

    trap 'warn "failed"; exit 99' HUP
    setup_env
    verify_env
    create_directories
    if is_initialised; then
        note "the data directory is there already: nothing to initialise"
    else
        initialise
    fi
    write_configuration
    wait_for
    trap - HUP
    ENTRYPOINT_PID=$$
    export ENTRYPOINT_PID
    note "starting: $*"
    exec "$@"
}

main "$@"
