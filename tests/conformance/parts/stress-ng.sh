# stress-ng: what its stressors of file systems verify, in all places at once, each stressor by two processes.
#
# Left out of the class: what tries other things than a folder, or no files of the directory at all.
omitted="bind-mount binderfs eventfd fanotify handle ioprio procfs verity"
stressors=
for stressor in $(stress-ng --class 'filesystem?' 2>&1 | sed -n 's/^.*stressors: //p'); do
    case " $omitted " in
    *" $stressor "*) ;;
    *) stressors="$stressors $stressor" ;;
    esac
done
each=1
# Shared among the stressors, the rest is theirs to clean up.
[ -z "$seconds" ] || each=$((seconds / 50 > 1 ? seconds / 50 : 1))

running=
for place in $places; do
    name=${place%%:*} rest=${place#*:}
    as "${rest%%:*}" mkdir "${rest#*:}/stress"
    (cd "$scratch/other" && as "${rest%%:*}" timeout $((300 + each * 60)) stress-ng --class filesystem --sequential 2 \
        --exclude "$(echo "$omitted" | tr ' ' ,)" --verify --timeout "$each" --oomable --metrics-brief \
        --temp-path "${rest#*:}/stress" \
        >"$scratch/stress-ng.$name.log" 2>&1) &
    running="$running $!"
done
for job in $running; do wait "$job" || true; done
running=
for place in $places; do
    name=${place%%:*}
    log=$scratch/stress-ng.$name.log
    grep -q 'run completed' "$log" || { tail -n 5 "$log" >&2; fail "stress-ng broke off in $name"; }
    for stressor in $stressors; do
        grep -qE "(fail|error): .*\] ($stressor: |process .* \($stressor\))|$stressor: .*skipping" "$log" || echo "$stressor"
    done | sort >"$scratch/stress-ng.$name.ok"
done
[ "$(wc -l <"$scratch/stress-ng.bare-user.ok")" -ge 36 ] ||
    fail "too few pass on the bare directory for this to say anything"
judge stress-ng
