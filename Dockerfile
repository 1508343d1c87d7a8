# The API, and every `python -m ops` verb that runs beside it. Nothing of the build is left in the image.
ARG BASE=python:3.13-slim-trixie

# hadolint ignore=DL3006 # BASE names its version above
FROM ${BASE} AS build
COPY requirements/runtime.txt /build/
RUN python -m venv --without-pip /opt/venv \
 && python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
      --only-binary :all: --require-hashes -r /build/runtime.txt
COPY app /srv/app
COPY migrations /srv/migrations
COPY ops /srv/ops
# The root is read-only at run time, so no bytecode could be written then; its checks against the sources are left out.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib /srv

# hadolint ignore=DL3006 # as above
FROM ${BASE}
ARG VERSION=2.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Sovereign Assistant API" \
      org.opencontainers.image.description="OpenAI's Assistants API, served on your own GPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv /srv
WORKDIR /srv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    ENVIRONMENT=production \
    API_HOST=0.0.0.0 \
    DATABASE_URL=sqlite:////data/sovereign_assistant.db
# The list of what is inside comes first; then goes what could put more in. Compiled once here, not at every start.
RUN python -m ops.appliance.sbom --version "${VERSION}" --output /srv/sbom.cdx.json \
 && python -m ops.appliance.slimming \
 && echo 'sovereign:x:10001:10001:Sovereign Assistant API:/tmp:/usr/sbin/nologin' >>/etc/passwd \
 && echo 'sovereign:x:10001:' >>/etc/group \
 && install -d -o 10001 -g 10001 -m 700 /data /backups /models
USER 10001:10001
EXPOSE 8001
# A process of its own each time: seldom enough to cost nothing, often enough to be noticed within a minute.
HEALTHCHECK --interval=15s --timeout=10s --start-period=20s --retries=3 CMD ["python", "-m", "ops", "health"]
ENTRYPOINT ["python", "-m", "ops"]
CMD ["serve"]
