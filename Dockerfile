# The operator and the agent, each a static binary, and nothing else.
FROM scratch
COPY mainstay-controller mainstay-agent /
USER 65532:65532
ENTRYPOINT ["/mainstay-controller"]
