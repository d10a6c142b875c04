# What every job text shares: where the machines are, how they are asked to leave, when a role starts again.
# Sourced by the batch shell, which runs on the job's first machine, in the repository's root.

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
# Two jobs that share a machine must not share a port; each crew of a job takes one.
port=$((20000 + SLURM_JOB_ID % 10000 * 2))

# Exists from when the job was asked to leave; a file, because a role may be kept by a subshell.
asked=$(mktemp -u)

# Slurm signals this shell alone, `grace_s` before the time limit. The steps get SIGTERM: their crews save and leave.
ask_to_leave() {
    trap '' USR1 TERM
    touch "$asked"
    echo "asking every crew to save and leave"
    scancel --signal=TERM "$SLURM_JOB_ID"
}
trap ask_to_leave USR1 TERM

# crew FIRST_NODE NODES PORT WORD...: one task per machine, each with the processes that the words ask for.
# The first crew to end leaves the others as long as a shutdown may take, then Slurm ends them.
crew() {
    local first=$1 nodes=$2 port=$3
    shift 3
    srun --overlap --label --relative="$first" --nodes="$nodes" --ntasks="$nodes" \
        --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=0 --wait="$shutdown_s" \
        bash -c 'exec "$@" --node-rank="$SLURM_PROCID"' crew \
        "$python" -m launch.crew --address="${hosts[$first]}" --port="$port" "$@"
}

# keep "ROLE..." COMMAND...: run the command until the roles are done, not to be started again, or out of restarts.
keep() {
    local roles=$1 failures=0 code verdict
    shift
    while true; do
        for role in $roles; do rm -f "$run/ctl/exit/$role.json"; done
        "$@" &
        await $!
        # srun returns the highest code of any machine; the notes in the run directory say which one counts.
        if [[ -e $asked ]]; then verdict=(--asked); else verdict=(); fi
        "$python" -m launch.exit_status "${verdict[@]}" "$run" $roles
        code=$?
        if [[ -e $asked ]] || ((code != 1 && code != 75)) || ((failures++ >= restarts)); then return $code; fi
        echo "$roles failed, $failures of at most $restarts times: starting again"
        sleep $((failures * 5))
    done
}

# await PID: wait for it, whatever signals come in between.
await() {
    while kill -0 "$1" 2>/dev/null; do wait "$1"; done
}

# leave CODE: end the job, and put it back into the queue if that is what the code asks for.
leave() {
    rm -f "$asked"
    if (($1 == 75)); then scontrol requeue "$SLURM_JOB_ID"; fi
    exit "$1"
}
