"""From one config to running processes: on this machine, on Slurm, on Kubernetes, and many runs at a time on Ray.

`process_plan` decides, before anything starts, which machine runs how many processes of which role. A `crew` is one
torchrun: the processes of one role on one machine; it relays signals, cleans up and says how its role ended
(`exit_status`). Whoever starts crews keeps them going: `local` here, the batch shell in `slurm/`, the Job
controller in `k8s/`. `submit` fills in the texts of the latter two, and `health_probe` tells from heartbeats whether
a container is alive. `share` has many machines pack or predict; `hand_over` gives a text to the cluster. `sweep`
searches settings: each of its trials keeps crews, too. Nothing in this folder imports torch, and it is run from the
repository's root.
"""
