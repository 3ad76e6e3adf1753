# pgcast in a container: docs/how-to/containers.md. The version of Python is the one that it is tested with.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/build
RUN python -m venv --without-pip /opt/pgcast
COPY requirements/build.txt requirements/runtime.txt ./
# Wheels alone, each with its hash: nothing is compiled, and nothing else than what was locked gets in.
RUN /opt/build/bin/python -m pip install --require-hashes --no-deps --only-binary :all: -r build.txt
RUN /opt/build/bin/python -m pip --python /opt/pgcast/bin/python install --require-hashes --no-deps --only-binary :all: -r runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --no-index --wheel-dir dist .
RUN /opt/build/bin/python -m pip --python /opt/pgcast/bin/python install --no-deps --no-index --find-links dist pgcast

FROM ${PYTHON}
LABEL org.opencontainers.image.title="pgcast" \
      org.opencontainers.image.description="Change data capture and realtime server for PostgreSQL" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 pgcast && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin pgcast
# For PGCAST_STATE_DIR, and for webhooks without it: a volume that is mounted here belongs to the server.
RUN install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/pgcast
COPY --from=build /opt/pgcast /opt/pgcast
ENV PATH=/opt/pgcast/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    XDG_STATE_HOME=/var/lib
USER 10001:10001
WORKDIR /
EXPOSE 4000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["pgcast", "health"]
ENTRYPOINT ["pgcast"]
CMD ["serve"]
