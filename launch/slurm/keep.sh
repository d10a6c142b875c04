# What every job text shares: where the machines are, how they are asked to leave, when a role starts again.
# Sourced by the batch shell, which runs on the job's first machine, in the repository's root.

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
# Two jobs that share a machine must not share a port. Linux gives outgoing connections those from 32768 on.
port=$((20000 + SLURM_JOB_ID % 12000))
poll_s=10
# Where the processes run: here, or in a folder on each machine's own disk.
place=${stage:-$PWD}
if ((${#step_words[@]})); then step_words+=("--container-workdir=$place"); fi

# Slurm signals this shell: USR1 is the warning, `grace_s` before the time limit, after which the job comes back; SIGTERM ends
# it, as `scancel JOB` does, and it does not. What Slurm itself preempts, or loses, it puts back without being asked. Either
# way the steps get SIGTERM: their crews save and leave.
asked=0
comes_back=0
ask_to_leave() {
    trap '' USR1
    comes_back=$1
    if ((asked)); then return; fi
    asked=1
    echo "asking every process to save and leave"
    scancel --signal=TERM "$SLURM_JOB_ID"
}
trap 'ask_to_leave 1' USR1
trap 'ask_to_leave 0' TERM

# crew NODES WORD...: one task per machine, each with the processes that launch.crew's words ask for. The first machine
# to end leaves the others as long as a shutdown may take, then Slurm ends them. `step_words` and `inside` bring the
# tasks into a container, where there is one.
crew() {
    local nodes=$1
    shift
    srun --overlap --label --nodes="$nodes" --ntasks="$nodes" --cpus-per-task="$SLURM_CPUS_PER_TASK" --chdir="$place" \
        --kill-on-bad-exit=0 --wait="$shutdown_s" "${step_words[@]}" \
        bash -c 'exec "$@" --node-rank="$SLURM_PROCID"' crew \
        "${inside[@]}" "$python" -m launch.crew --address="${hosts[0]}" --port="$port" "$@"
}

# copy_shards: make `stage` on every machine: the shard sets as copies, everything else as links to where this shell is.
copy_shards() {
    srun --overlap --label --ntasks="$SLURM_NNODES" bash -c '
        set -e
        mkdir -p "$0"
        for set in "$@"; do mkdir -p "$0/${set%%/*}"; done
        for entry in "$PWD"/*; do [[ -d $0/${entry##*/} ]] || ln -sfn "$entry" "$0/"; done
        for set in "$@"; do
            mkdir -p "$(dirname "$0/$set")"
            cp -rL "$set" "$(dirname "$0/$set")/"
        done
        du -sh "$0" ' "$stage" "${shard_sets[@]}"
}

# keep COMMAND...: run the command until the roles are done, not to be started again, or out of restarts.
keep() {
    local failures=0 code was_asked
    while true; do
        if [[ -n ${student_job:-} ]]; then await_student || return $?; fi
        for role in "${roles[@]}"; do rm -f "$run/ctl/exit/$role.json"; done
        # The signal may have come between two starts.
        if ((asked)); then return 75; fi
        await "$@"
        was_asked=$asked
        # srun returns the highest code of any machine; the notes in the run directory say which one counts.
        read_notes "$was_asked"
        code=$?
        if ((was_asked || (code != 1 && code != 75))); then return $code; fi
        # A teacher ends by itself when its student is away for long: that is no failure of its own.
        if [[ -n ${student_job:-} && $(student_state) != RUNNING ]]; then continue; fi
        if ((failures++ >= restarts)); then return $code; fi
        if ((asked)); then continue; fi
        echo "${roles[*]} failed, $failures of at most $restarts times: starting again"
        sleep $((failures * 5))
    done
}

# await COMMAND...: run it to its end, whatever signals come in between.
await() {
    local pid code
    "$@" &
    pid=$!
    while
        wait $pid
        code=$?
        kill -0 $pid 2>/dev/null
    do :; done
    return $code
}

# read_notes ASKED: say how each role ended, and return the code that counts, as launch.exit_status does. Read by this shell:
# unpacking a container's image for it takes minutes of those that Slurm grants.
read_notes() {
    local role path note code reason found=() deadline=$((SECONDS + ${note_wait_s:-10}))
    for role in "${roles[@]}"; do
        path=$run/ctl/exit/$role.json
        # Another machine's note may be seen late.
        until [[ -e $path ]] || ((SECONDS >= deadline)); do sleep 1; done
        note=$(cat "$path" 2>/dev/null)
        if [[ $note =~ \"code\":\ *([0-9]+) ]]; then
            code=${BASH_REMATCH[1]} reason=
            if [[ $note =~ \"reason\":\ *\"(([^\"\\]|\\.)*)\" ]]; then reason=${BASH_REMATCH[1]}; fi
        elif (($1)); then
            code=75 reason="ended before it could save"
        else
            code=1 reason="left no note"
        fi
        if [[ ! $code =~ ^(0|1|2|75)$ ]]; then reason+=" (code $code)" code=1; fi
        echo "$role: exit code $code, $reason"
        found+=("$code")
    done
    for code in 2 1 75; do
        if [[ " ${found[*]} " == *" $code "* ]]; then return "$code"; fi
    done
}

# student_state: what Slurm says of the student's job; nothing once that is over, UNKNOWN while Slurm does not answer.
student_state() {
    local said
    if said=$(squeue --noheader --jobs="$student_job" --format=%T 2>&1); then
        echo "$said"
    elif [[ $said != *"Invalid job id"* ]]; then
        echo UNKNOWN
    fi
}

# await_student: return once the student's job runs; fail with the code to leave with, where it never will again or
# this job is asked to leave.
await_student() {
    local state told=
    while true; do
        if ((asked)); then return 75; fi
        state=$(student_state)
        if [[ $state == RUNNING ]]; then return 0; fi
        if [[ -z $state ]]; then
            echo "the student's job $student_job is over"
            leave 0
        fi
        if [[ $state != "$told" ]]; then echo "the student's job $student_job is $state: waiting for it"; fi
        told=$state
        await sleep "$poll_s"
    done
}

# leave CODE: end the job, and put it back into the queue if the code and the warning ask for that.
leave() {
    if [[ -n ${stage:-} ]]; then srun --overlap --ntasks="$SLURM_NNODES" rm -rf "$stage"; fi
    if (($1 == 75 && comes_back)); then scontrol requeue "$SLURM_JOB_ID"; fi
    exit "$1"
}
