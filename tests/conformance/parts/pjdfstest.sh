# pjdfstest: what each system call answers. Users run what needs no root.

cat >"$scratch/pjdfstest.toml" <<EOT
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}

[settings]
naptime = 0.01

[dummy_auth]
entries = [["nobody", "nogroup"], ["lendfs-conform", "lendfs-conform"]]
EOT
for place in $places; do
    name=${place%%:*} rest=${place#*:}
    log=$scratch/pjdfstest.$name.log
    (cd "$scratch" && as "${rest%%:*}" timeout 300 "$scratch/bin/pjdfstest" -c pjdfstest.toml -p "${rest#*:}" \
        -s "$scratch/other" >"$log" 2>"$log.errors") || true
    grep -q '^Summary' "$log" || fail "pjdfstest broke off in $name: $(tail -n 3 "$log.errors")"
    sed -n 's/^\([a-z_0-9:]*::[a-z_0-9:]*\)[[:space:]]\{1,\}ok$/\1/p' "$log" | sort >"$scratch/pjdfstest.$name.ok"
done
[ "$(wc -l <"$scratch/pjdfstest.bare-root.ok")" -ge 380 ] && [ "$(wc -l <"$scratch/pjdfstest.bare-user.ok")" -ge 240 ] ||
    fail "too few pass on the bare directory for this to say anything"
judge pjdfstest
