# The image of a Skyberth node. Both base images are arguments, so that a mirror or another base can be chosen.
#
#   docker build --tag skyberth .
#   docker run --publish 127.0.0.1:5000:5000 --volume skyberth:/var/lib/skyberth skyberth
#
# Started as root (the default), the node takes over the data directory and becomes 65532:65532 before it opens anything.
# That needs CAP_CHOWN, CAP_SETUID and CAP_SETGID. Started as any other user, it simply runs.
ARG BUILD_IMAGE=docker.io/library/rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=docker.io/library/debian:bookworm-slim
# The stage or image whose /out is added to the runtime image. The checks name one with the binary they just tested.
ARG BINARY=build

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY portal portal
COPY registry registry
COPY storage-backends storage-backends
COPY conformance conformance
# The text of `skyberth --version`, such as "0.1.0 (commit 1a2b3c4)". Optional.
ARG SKYBERTH_BUILD_VERSION
# The data directory is writable for group 0: platforms that choose a user at random put that user into it.
RUN CARGO_PROFILE_RELEASE_STRIP=debuginfo cargo build --locked --release --package skyberth \
    && install -D target/release/skyberth /out/usr/local/bin/skyberth \
    && install -d /out/var/lib && install -d -m 0770 /out/var/lib/skyberth

FROM ${BINARY} AS binary

FROM ${RUNTIME_IMAGE} AS runtime
LABEL org.opencontainers.image.title="Skyberth" \
      org.opencontainers.image.description="OCI container registry" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=binary /out/ /
ENV SKYBERTH_SERVER_LISTEN=0.0.0.0:5000 \
    SKYBERTH_SERVER_RUN_AS=65532:65532 \
    SKYBERTH_STORAGE_DATA=/var/lib/skyberth
VOLUME /var/lib/skyberth
EXPOSE 5000
# The command asks the node on its local socket. A rebuild of the index after a crash counts as starting.
HEALTHCHECK --interval=30s --timeout=10s --start-period=5m CMD ["/usr/local/bin/skyberth", "status"]
ENTRYPOINT ["/usr/local/bin/skyberth"]
CMD ["serve"]
