# fsx: random operations on one file, each byte that is read checked against what was written.

cat >"$scratch/plain.toml" <<EOT
[weights]
close_open = 1
invalidate = 1
mapread = 10
mapwrite = 10
read = 10
write = 10
truncate = 2
EOT
cat >"$scratch/all.toml" <<EOT
flen = 1048576
[weights]
close_open = 2
invalidate = 1
mapread = 5
mapwrite = 5
read = 10
write = 10
truncate = 2
fsync = 0.2
fdatasync = 0.2
posix_fallocate = 1
punch_hole = 1
sendfile = 2
posix_fadvise = 1
copy_file_range = 2
EOT
operations=8000
[ -z "$seconds" ] || operations=20000
# fsx USER DIRECTORY SEED CONFIGURATION
fsx() {
    echo "fsx: $operations operations in ${2##*/}, seed $3, $4"
    install -d -m 777 "$scratch/fsx"
    (cd "$scratch" && as "$1" timeout 300 "$scratch/bin/fsx" -q -q -N $operations -S "$3" -f "$4.toml" -P "$scratch/fsx" "$2/fsx") ||
        fail "fsx found a difference in ${2##*/} with seed $3, $4"
}
seed=1
until=$(($(date +%s) + ${seconds:-0}))
while [ "$seed" -le 3 ] || [ "$(date +%s)" -lt "$until" ]; do
    for config in plain all; do
        fsx root "$scratch/owner/c/owner" "$seed" "$config"
    done
    # Levels make no difference to data: one seed of three for the others.
    if [ $((seed % 3)) = 1 ]; then
        for level in full edit; do fsx "lendfs-$level" "$scratch/$level/c/$level" "$seed" all; done
    fi
    seed=$((seed + 1))
done
