# fio: what is written is read again and its checksum compared, by each way to do so, in each mount and between two.

size=8m
[ -z "$seconds" ] || size=64m

# run_fio USER NAME OPTION...
run_fio() {
    who=$1 what=$2
    shift 2
    log=$(mktemp "$scratch/fio.XXXXXX")
    (cd "$scratch/other" && as "$who" timeout 600 fio --name="$what" --verify=crc32c --verify_fatal=1 --do_verify=1 \
        --fallocate=none --output-format=terse "$@") >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        fail "fio: $what"
    }
}
# Jobs that have a file each, by turns at random and in order.
each_engine() {
    who=$1 at=$2
    for engine in psync mmap libaio io_uring; do
        for order in randwrite write randrw; do
            run_fio "$who" "$engine $order in ${at##*/}" --directory="$at" --filename_format='fio.$jobnum' --rw=$order \
                --ioengine=$engine --iodepth=8 --bsrange=4k-64k --size="$size" --numjobs=3 --group_reporting
        done
    done
}
# Two mounts write the two halves of a file at once, and each reads what the other wrote.
two_mounts() {
    one=$1 other=$2 file=$3
    half=4m
    for at in "$one" "$other"; do
        [ "$at" = "$one" ] && offset=0 || offset=$half
        run_fio root "half of a file through $at" --filename="$at/$file" --offset=$offset --size=$half --rw=randwrite --bs=4k \
            --ioengine=psync --do_verify=0 &
        running="$running $!"
    done
    for job in $running; do wait "$job" || fail "fio: two mounts write one file"; done
    running=
    for at in "$one" "$other"; do
        for offset in 0 $half; do
            run_fio root "what two mounts wrote, through $at" --filename="$at/$file" --offset=$offset --size=$half \
                --rw=randwrite --bs=4k --ioengine=psync --verify_only=1
        done
    done
}
until=$(($(date +%s) + ${seconds:-0}))
while :; do
    for place in $places; do
        rest=${place#*:}
        case $place in
        bare-*) ;;
        *) each_engine "${rest%%:*}" "${rest#*:}" ;;
        esac
    done
    # A second mount of root's.
    if ! [ -d "$scratch/second" ]; then
        mkdir "$scratch/second"
        "$lendfs" mount "$scratch/second" >"$scratch/said"
    fi
    two_mounts "$scratch/owner/c/owner" "$scratch/second/c/owner" fio.shared
    [ "$(date +%s)" -lt "$until" ] || break
done
