#!/usr/bin/env bash
# Build the Dockerfile without a container engine, and train in the result: Debian's buildah and debootstrap, as root.
#
#   tests/launch/build_image.sh FOLDER [OPTION of buildah bud ...]
#
# FOLDER keeps the base root, the image and what was trained. Options may bring a pip mirror into the build, such as
# --volume /etc/pip.conf:/etc/pip.conf:ro
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mkdir -p "$1" && cd "$1" && pwd)
shift
# chroot isolation and plain folders as storage: neither needs a kernel feature that a container may lack.
store=(--storage-driver vfs --root "$folder/store" --runroot "$folder/run")

if [ ! -e "$folder/base/.ready" ]; then
    debootstrap --variant=minbase --include=python3,python3-dev,python3-venv,ca-certificates bookworm "$folder/base"
    touch "$folder/base/.ready"
fi
if ! buildah "${store[@]}" images --quiet localhost/base >/dev/null 2>&1; then
    container=$(buildah "${store[@]}" from scratch)
    buildah "${store[@]}" add --quiet "$container" "$folder/base" /
    buildah "${store[@]}" commit --quiet "$container" localhost/base
    buildah "${store[@]}" rm "$container"
fi
buildah "${store[@]}" bud --isolation chroot --format docker --build-arg BASE=localhost/base "$@" \
    --tag tsal_dist "$repository"

# As a user would: the image's own user and entry, the run on a folder of the host.
container=$(buildah "${store[@]}" from localhost/tsal_dist)
trap 'buildah "${store[@]}" rm "$container" >/dev/null' EXIT
mkdir -p "$folder/runs" "$folder/shards"
chown 1000:1000 "$folder/runs" "$folder/shards"
options=(--isolation chroot --user 1000 --volume "$folder/runs:/opt/tsal_dist/runs" --volume "$folder/shards:/opt/tsal_dist/shards")
inside() { buildah "${store[@]}" run "${options[@]}" "$container" -- "$@"; }

echo "--- inside, as user $(inside id -u)"
inside python tools/make_synthetic.py --out shards/synthetic --videos 6 --frames 8 --size 80 --clean
rm -rf "$folder"/shards/tiny-*
inside python tools/shard_videos.py --lists shards/synthetic/train.lst --out shards --split tiny-train
inside python tools/shard_videos.py --lists shards/synthetic/test.lst --out shards --split tiny-val
inside python -m launch.local --config configs/demo.toml --procs 2 --clean run.name=tiny \
    data.labelled=shards/tiny-train data.unlabelled=shards/tiny-train data.validation=shards/tiny-val \
    train.steps=20 train.burn_in_steps=5 train.optim.warmup_steps=2 runtime.log.evaluate_every=20
inside python -c "import torch; print('compiled:', torch.compile(lambda x: 2 * x + 1)(torch.ones(3)).tolist())"
inside python -c "import ctypes; ctypes.CDLL('libibverbs.so.1'); print('InfiniBand verbs are there')"
test -e "$folder/runs/tiny/checkpoints/student/step_20/COMMIT"
echo "--- trained in the image"
