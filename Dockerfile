# One static binary and the system's roots; nothing else is in the image. Build: docker build -t agent-waypoint:0.1.0 .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Without the demo. Only the last link is static: glibc's own static libraries are in the build image.
RUN cargo rustc --release --locked --no-default-features --features controller --bin agent-waypoint \
    -- -C target-feature=+crt-static

FROM scratch
COPY --from=build /src/target/release/agent-waypoint /agent-waypoint
# For external services whose certificate is from a public CA.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Any other that is not root does as well.
USER 65532:65532
EXPOSE 15008 15018 15020 15021
ENTRYPOINT ["/agent-waypoint"]
