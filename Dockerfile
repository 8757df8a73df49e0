# The service and its models, without torch. Build: docker build -t nextply .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# Tokens of an OpenID provider, and traces: loaded only where they are set up, so they cost a service nothing but disk.
ARG EXTRAS=jwt,otel
WORKDIR /build
RUN python3 -m venv /opt/nextply
# Dependencies have a layer of their own, which a change of our code leaves as it is.
COPY pyproject.toml constraints.txt README.md ./
RUN mkdir model service \
    && /opt/nextply/bin/pip install --no-cache-dir --no-compile --constraint constraints.txt ".${EXTRAS:+[$EXTRAS]}"
COPY model model
COPY service service
RUN /opt/nextply/bin/pip install --no-cache-dir --no-compile --no-deps --force-reinstall .

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin nextply \
    && mkdir /data && chown nextply /data
COPY --from=build /opt/nextply /opt/nextply
COPY artifacts /srv/artifacts
WORKDIR /srv
ENV NEXTPLY_HOST=0.0.0.0 NEXTPLY_DATA_DIR=/data PYTHONUNBUFFERED=1
USER nextply
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["/opt/nextply/bin/python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('NEXTPLY_PORT', 8000)}/health/ready\", timeout=2)"]
ENTRYPOINT ["/opt/nextply/bin/python", "-m", "service"]
