# Shared by the scripts of this directory; sourced.
set -euo pipefail

fail() {
    echo "$(basename "$0"): $1" >&2
    exit 1
}

# Prints the first of the given number of consecutive free ports, below those that the system gives to connections.
free_ports() {
    python3 - "$1" <<'PY'
import random, socket, sys

wanted = int(sys.argv[1])
for _ in range(1000):
    first = random.randrange(10000, 32000 - wanted)
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

# Succeeds if a process has ended, even if its parent has not yet waited for it.
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

# Succeeds if all of these programs and directories exist; directories are given by an absolute path.
present() {
    local name
    for name; do
        case $name in
        /*) [ -e "$name" ] || return 1 ;;
        *) command -v "$name" >/dev/null || return 1 ;;
        esac
    done
}

# Installs Debian packages if one of the programs or directories after -- is missing, without starting services of
# Debian's own.
apt_install() {
    local packages=()
    while [ "$1" != -- ]; do packages+=("$1"); shift; done
    shift
    present "$@" && return 0
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        fail "one of $* is missing; install it (on Debian: apt install ${packages[*]}) and try again"
    # Concurrent tests wait for the one that installs.
    (
        flock 9
        present "$@" && exit 0
        echo "installing ${packages[*]}" >&2
        # 101: no service is started. An existing policy stays.
        [ -e /usr/sbin/policy-rc.d ] || {
            trap 'rm -f /usr/sbin/policy-rc.d' EXIT
            printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
            chmod +x /usr/sbin/policy-rc.d
        }
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >&2
        # They do not start at the next boot either.
        ! command -v systemctl >/dev/null || systemctl disable "${packages[@]}" >/dev/null 2>&1 || true
    ) 9>/tmp/edgesentry-apt.lock
}
