# The image of a Skyberth node. Both base images are arguments, so that a mirror or a base of one's own can be named.
#
#   docker build --tag skyberth .
#   docker run --publish 127.0.0.1:5000:5000 --volume skyberth:/var/lib/skyberth skyberth
#
# Started as root (the default) the node makes the data directory its own and becomes 65532:65532 before it opens
# anything; that takes CAP_CHOWN, CAP_SETUID and CAP_SETGID. Started as any other user it just runs.
ARG BUILD_IMAGE=docker.io/library/rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=docker.io/library/debian:bookworm-slim
# The stage or image whose /out is added to the runtime image: the checks name one made of the binary that they have just tested.
ARG BINARY=build

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY portal portal
COPY registry registry
COPY storage-backends storage-backends
COPY conformance conformance
# What `skyberth --version` says if it is given, such as "0.1.0 (commit 1a2b3c4)".
ARG SKYBERTH_BUILD_VERSION
# The data directory is open to group 0, which platforms that choose a user at random give it.
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
# Asks the node on its local socket; a rebuild of the index after a crash counts as starting.
HEALTHCHECK --interval=30s --timeout=10s --start-period=5m CMD ["/usr/local/bin/skyberth", "status"]
ENTRYPOINT ["/usr/local/bin/skyberth"]
CMD ["serve"]
