# Shared by the scripts of this folder; sourced.
set -euo pipefail

fail() {
    echo "$(basename "$0"): $1" >&2
    exit 1
}

# The first of so many consecutive ports that nobody listens on.
free_ports() {
    python3 - "$1" <<'PY'
import random, socket, sys

wanted = int(sys.argv[1])
for _ in range(1000):
    first = random.randrange(20000, 60000 - wanted)
    sockets = []
    try:
        for port in range(first, first + wanted):
            sockets.append(socket.socket())
            sockets[-1].bind(("127.0.0.1", port))
    except OSError:
        continue
    finally:
        for bound in sockets:
            bound.close()
    print(first)
    break
else:
    sys.exit("no free ports")
PY
}

# Whether a process has ended; one that nobody has waited for yet has, too.
gone() {
    ! kill -0 "$1" 2>/dev/null || grep -qs '^State:.Z' "/proc/$1/status"
}

# Ends the process of a pid file and waits until it is gone.
stop_pid() {
    local file=$1 pid
    [ -f "$file" ] || return 0
    pid=$(head -1 "$file")
    kill -"${2:-TERM}" "$pid" 2>/dev/null || true
    for _ in $(seq 200); do
        gone "$pid" && return 0
        sleep 0.05
    done
    kill -KILL "$pid" 2>/dev/null || true
}
