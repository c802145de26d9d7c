# The operator and the agent: two static binaries, nothing else. `make build` makes them first.
FROM scratch
COPY target/image/mainstay-controller target/image/mainstay-agent /
USER 65532:65532
ENTRYPOINT ["/mainstay-controller"]
