# One image for every role; `launch.submit k8s` starts it, and so does
#   docker run --shm-size 4g -v ./runs:/opt/tsal_dist/runs -v ./shards:/opt/tsal_dist/shards tsal_dist \
#     --standalone --nproc-per-node 2 -m tsal_dist.train --config configs/demo.toml
#
# BASE needs Python 3.11 or later with its headers, and apt. Its digest (3.11.16, all platforms) gets the same base tomorrow,
# without a day's mends; `docker buildx imagetools inspect python:3.11-slim-bookworm` prints today's for --build-arg BASE.
# The torch on PyPI brings the CUDA libraries it needs, so the default serves GPUs as well (the host has the driver); a
# vendor's CUDA image with Python does too. For a small image without CUDA, TORCH_INDEX names an index of CPU wheels.
# EXTRAS names extras of pyproject.toml: sweeps need report,tune, and those of launch/k8s/rayjob.yaml report,kuberay; deepspeed
# is built against the torch installed before.
# Behind a firewall PIP_INDEX_URL and APT_MIRROR name mirrors of PyPI and of deb.debian.org.
ARG BASE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${BASE} AS system
ARG APT_MIRROR=""
# torch.compile and DeepSpeed call a compiler when training starts. Without the verbs NCCL finds no InfiniBand and falls
# back to TCP, which it says only at NCCL_DEBUG=INFO. KubeRay's probes call wget.
# hadolint ignore=DL3008
RUN { test -z "$APT_MIRROR" || find /etc/apt -type f -exec sed -i "s|http://deb.debian.org|$APT_MIRROR|g" {} +; } \
    && apt-get update \
    && apt-get install -y --no-install-recommends g++ libibverbs1 ibverbs-providers librdmacm1 wget \
    && rm -rf /var/lib/apt/lists/*

FROM system AS packages
ARG TORCH_INDEX=""
ARG PIP_INDEX_URL=""
ARG EXTRAS="report"
WORKDIR /build
# Dependencies first: a change of the source leaves this layer, gigabytes in size, as it is.
COPY pyproject.toml constraints.txt ./
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = [name.strip() for name in '${EXTRAS}'.split(',') if name.strip()]; optional = project['optional-dependencies']; \
write = lambda file, lines: open(file, 'w').write(chr(10).join(lines)); \
write('first.txt', project['dependencies'] + [one for name in extras if name != 'deepspeed' for one in optional[name]]); \
write('then.txt', optional['deepspeed'] if 'deepspeed' in extras else [])" \
    && /opt/venv/bin/pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
        -c constraints.txt -r first.txt setuptools wheel \
    && { test ! -s then.txt || /opt/venv/bin/pip install --no-cache-dir --no-build-isolation -c constraints.txt -r then.txt; }

FROM system
RUN useradd --uid 1000 --create-home trainer
COPY --from=packages /opt/venv /opt/venv
WORKDIR /opt/tsal_dist
COPY LICENSE README.md ./
COPY configs configs
COPY tools tools
COPY launch launch
COPY tsal_dist tsal_dist
RUN mkdir runs shards && chown 1000:1000 runs
# The allocator's settings have to be there before a process starts. torchrun's patience after SIGTERM would be 30 s,
# too short for a checkpoint; launch.crew sets what the config says.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/tsal_dist \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    MALLOC_MMAP_THRESHOLD_=67108864 \
    MALLOC_TRIM_THRESHOLD_=268435456 \
    TORCH_ELASTIC_SHUTDOWN_TIMEOUT=420
USER 1000
HEALTHCHECK --interval=30s --timeout=10s --start-period=300s --retries=3 \
    CMD ["python", "-m", "launch.health_probe", "runs", "--silent-s", "300"]
ENTRYPOINT ["torchrun"]
CMD ["--help"]
