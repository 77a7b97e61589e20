# Commands in the background, for scripts that source this file and set `logs`, the prefix of the output files. Each
# command is a process group. A signal to the script, or its end, ends all of them.

declare -A begun
# Starts a command, with its output in a file: NAME COMMAND...
begin() {
    set -m
    "${@:2}" >"$logs$1.log" 2>&1 </dev/null &
    begun[$1]=$!
    set +m
}
# Waits for a command, prints its output, and fails if it failed.
finish() {
    local status=0
    wait "${begun[$1]}" || status=$?
    unset "begun[$1]"
    echo "--- $1"
    cat "$logs$1.log"
    return "$status"
}
# Runs a command with its output, and fails if it fails. A trap runs during wait, but not during a command in the
# foreground.
now() {
    local status=0
    set -m
    "$@" </dev/null &
    begun[now]=$!
    set +m
    wait "${begun[now]}" || status=$?
    unset "begun[now]"
    return "$status"
}
end_all() {
    local group
    for group in "${begun[@]}"; do kill -- "-$group" 2>/dev/null || true; done
}
trap end_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
