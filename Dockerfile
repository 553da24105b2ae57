# tusd-s3 as a container: one stage builds a virtual environment, the other has nothing but it.
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/tusd-s3
COPY constraints.txt pyproject.toml README.md ./
COPY tusd_s3 tusd_s3
RUN /opt/tusd-s3/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.13-slim
COPY --from=build /opt/tusd-s3 /opt/tusd-s3
ENV PATH=/opt/tusd-s3/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TUSD_S3_HOST=0.0.0.0 \
    TUSD_S3_PORT=8080 \
    TUSD_S3_LOG_FORMAT=json
# Nothing is written to disk: the container can run with --read-only and as nobody.
USER 65534:65534
EXPOSE 8080
# SIGTERM makes it record what has arrived; give it --stop-timeout above TUSD_S3_SHUTDOWN_TIMEOUT.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", \
    "import os, urllib.request as u; b = os.environ.get('TUSD_S3_BASE_PATH', '/files/'); u.urlopen(u.Request('http://127.0.0.1:' + os.environ['TUSD_S3_PORT'] + b, method='OPTIONS'), timeout=2)"]
ENTRYPOINT ["tusd-s3"]
CMD ["serve"]
