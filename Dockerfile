# One static binary and the system's roots; nothing else is in the image. Build: docker build -t agent-waypoint:0.1.0 .
#
# Guided by a profile (benches/guided): built, run through the calls of benches/compare, and built anew by what was counted.
# --build-arg GUIDED=0 builds once, in a third of the time: an image of the same behaviour, with more CPU for each call and
# more memory at rest (docs/performance.md).
FROM rust:1.95-bookworm AS build
ARG GUIDED=1
WORKDIR /src
COPY . .
# Without the demo. What is shipped is static, and nothing else: glibc's own static libraries are in the build image.
RUN if [ "$GUIDED" = 0 ]; then \
      cargo rustc --release --locked --no-default-features --features controller --bin agent-waypoint \
        -- -C target-feature=+crt-static && \
      cp target/release/agent-waypoint /agent-waypoint; \
    else \
      rustup component add llvm-tools && \
      built=$(RUSTFLAGS=-Ctarget-feature=+crt-static benches/guided --no-default-features --features controller | tail -n 1) && \
      cp "$built" /agent-waypoint; \
    fi

FROM scratch
COPY --from=build /agent-waypoint /agent-waypoint
# For external services whose certificate is from a public CA.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Any other that is not root does as well.
USER 65532:65532
EXPOSE 15008 15018 15020 15021
ENTRYPOINT ["/agent-waypoint"]
