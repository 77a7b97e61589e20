#!/usr/bin/env bash
# Fuzzes the readers and the chain verification for FUZZ_SECONDS in total, 60 by default, on every processor; needs only
# stable Rust and a C++ compiler. Arguments select the targets. FUZZ_SECONDS=0 only builds them.
#
# Fails on a crash, a leak, or an input that takes longer than ten seconds or too much memory, and prints the path of the
# input and the command to run it again. New inputs that increase coverage stay in fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

seconds=${FUZZ_SECONDS:-60}
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(signatures json record arrow parquet key_ring heads chain part log_text log_binary log_tree log_proof log_witness bundle timestamp packs)

# Coverage counters, as in cargo-fuzz. With --target they stay out of build scripts and macros.
host=$(rustc -vV | sed -n 's/^host: //p')
sancov="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
sancov+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
sancov+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS="--cfg fuzzing $sancov" CARGO_TARGET_DIR=target \
    cargo build --release --locked --target "$host" "${targets[@]/#/--bin=}"

[ "$seconds" -gt 0 ] || exit 0
each=$((seconds / ${#targets[@]}))
[ "$each" -gt 0 ] || each=1
# Spooled input stays in memory if possible.
[ ! -d /dev/shm ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm

# Fuzzes one target, and prints its figures, or its failure.
fuzz() {
    local target=$1 log=artifacts/$1/log input
    mkdir -p "corpus/$target" "artifacts/$target"
    if "target/$host/release/$target" "corpus/$target" -artifact_prefix="artifacts/$target/" \
        -max_total_time="$each" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 >"$log" 2>&1; then
        printf '%-10s %9s executions in %s s, %s MB\n' "$target" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$each" \
            "$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")"
        return
    fi
    input=$(sed -n 's/^.*Test unit written to //p' "$log" | tail -n 1)
    tail -n 40 "$log" >&2
    printf '%-10s FAILED; see fuzz/%s\n' "$target" "$log" >&2
    [ -z "$input" ] || printf '%-10s run it again: fuzz/target/%s/release/%s fuzz/%s\n' \
        "" "$host" "$target" "$input" >&2
    return 1
}
export -f fuzz
export host each

# xargs ends with 123 if a target failed.
printf '%s\n' "${targets[@]}" | xargs --max-procs="$(nproc)" -I{} bash -c 'fuzz {}' || {
    echo "scripts/fuzz-smoke.sh: a target failed; see above" >&2
    exit 1
}
