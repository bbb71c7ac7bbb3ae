# Every job of Isobar in one image: docker build --tag isobar . (docs/containers.md)
#
#   docker run --rm --init --volume "$PWD":/isobar isobar jobs/train.py configs/demo.yaml
#
# PYTHON_IMAGE  another base with Python 3.11 or newer, of Debian
# EXTRAS        extras of pyproject.toml, for example "grib arco"
# TORCH_INDEX   where PyTorch is taken from instead of PyPI; https://download.pytorch.org/whl/cpu leaves CUDA out (4 GB)
# GIT_SHA       what run.json says about the code, as there is no history in the image
ARG PYTHON_IMAGE=docker.io/library/python:3.12-slim-bookworm

# --- packages: changes only when uv.lock does -----------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS packages
RUN python -m pip install --no-cache-dir --root-user-action=ignore uv==0.13.8
ENV UV_PROJECT_ENVIRONMENT=/opt/venv UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /app
COPY pyproject.toml uv.lock ./
ARG EXTRAS=""
ARG TORCH_INDEX=""
SHELL ["/bin/bash", "-o", "errexit", "-o", "pipefail", "-c"]
RUN --mount=type=cache,target=/root/.cache/uv \
    more=(); for extra in ${EXTRAS}; do more+=(--extra "${extra}"); done; \
    if [[ -n "${TORCH_INDEX}" ]]; then \
      mapfile -t names < <(awk -F'"' '/^name = "(torch|torchvision|triton|(nvidia|cuda)-.*)"$/ {print $2}' uv.lock); \
      for name in "${names[@]}"; do more+=(--no-install-package "${name}"); done; \
    fi; \
    uv sync --locked --no-dev --no-install-project "${more[@]}"; \
    if [[ -n "${TORCH_INDEX}" ]]; then \
      mapfile -t torch < <(awk -F'"' '/^name = / {name = $2} /^version = / && name ~ /^torch(vision)?$/ {print name "==" $2}' uv.lock); \
      uv pip install --python /opt/venv --no-deps --compile-bytecode --default-index "${TORCH_INDEX}" "${torch[@]}"; \
    fi

# --- what runs ------------------------------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE}
# libgomp1: LightGBM is linked to it and does not bring it. No version: Debian keeps only the newest of a package.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home isobar \
    && install --directory --mode 1777 /isobar /isobar/data /isobar/results \
    && chmod 1777 /home/isobar
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY slurm/profiles.yaml slurm/
COPY configs configs
COPY jobs jobs
COPY pipeline pipeline
RUN --mount=type=bind,from=packages,source=/usr/local/bin/uv,target=/usr/local/bin/uv \
    uv pip install --python /opt/venv --no-deps --no-cache --compile-bytecode --editable .
ARG GIT_SHA=""
# /home/isobar and /isobar are open to any user id: --user says who owns what is written.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/home/isobar \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    ISOBAR_GIT="{${GIT_SHA:+\"sha\": \"}${GIT_SHA}${GIT_SHA:+\"}}" \
    ISOBAR_HOME=/isobar
USER 1000:1000
VOLUME ["/isobar"]
ENTRYPOINT ["python"]
CMD ["jobs/chain.py", "--help"]
