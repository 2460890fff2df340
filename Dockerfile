# redistill in a container. Without a GPU (PyTorch's CPU build), or with one (PyPI's CUDA build, which brings its CUDA libraries along):
#
#   docker build -t redistill --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
#   docker build -t redistill:cuda .
#   docker run --rm -v "$PWD:/data" redistill run quickstart
#   docker run --rm --gpus all -v "$PWD:/data" redistill:cuda run quickstart
#
# Runs are written to /data, as the user that --user names (default: an ordinary user, 1000).
ARG PYTHON=3.12
FROM python:${PYTHON}-slim
ARG TORCH_INDEX=
ARG EXTRAS=
WORKDIR /opt/redistill
COPY constraints.txt ./
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir -c constraints.txt ".${EXTRAS}"
RUN useradd --uid 1000 --create-home redistill && mkdir /data && chown redistill /data
USER redistill
ENV HF_HOME=/data/.cache/huggingface PYTHONUNBUFFERED=1
WORKDIR /data
ENTRYPOINT ["redistill"]
CMD ["--help"]
