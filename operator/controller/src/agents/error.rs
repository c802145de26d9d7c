//! What goes wrong between operator and agent.

/// Why a stream broke or an order was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    /// The keys by which the agent is known can't be had.
    #[error("no keys for the cluster's agents: {0}")]
    Trust(String),
    /// No connection.
    #[error("no connection to the agent: {0}")]
    Dial(String),
    /// It does not prove to be an instance of the cluster, or does not take us for the operator.
    #[error("TLS with the agent failed: {0}")]
    Tls(std::io::Error),
    /// The connection broke.
    #[error("the connection to the agent broke: {0}")]
    Io(#[from] std::io::Error),
    /// The connection broke while an order was given.
    #[error("the connection to the agent broke: {0}")]
    Http(#[from] hyper::Error),
    /// It answered with something else than HTTP, or another HTTP than was asked for.
    #[error("the agent's answer can't be read: {0}")]
    Head(String),
    /// It answered with an HTTP error.
    #[error("the agent answered with status {0}")]
    Status(u16),
    /// It answered with something else than was expected.
    #[error("the agent's message can't be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A message is longer than any can be.
    #[error("the agent's message is longer than {0} bytes")]
    TooLong(usize),
    /// It did not answer, or did not say anything, in time.
    #[error("the agent was silent for {0} s")]
    Silent(u64),
    /// It ended the stream.
    #[error("the agent ended the stream")]
    Ended,
    /// Another pod's agent answers at the address.
    #[error("another agent answers: its {what} is {theirs}, not {ours}")]
    Stranger {
        /// What differs.
        what: &'static str,
        /// What the pod says.
        ours: String,
        /// What the agent says.
        theirs: String,
    },
}

impl AgentError {
    /// A bounded name, for metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            AgentError::Trust(_) => "Trust",
            AgentError::Dial(_) => "Dial",
            AgentError::Tls(_) => "Tls",
            AgentError::Io(_) | AgentError::Http(_) => "Connection",
            AgentError::Head(_) => "Head",
            AgentError::Status(_) => "Status",
            AgentError::Malformed(_) => "Malformed",
            AgentError::TooLong(_) => "TooLong",
            AgentError::Silent(_) => "Silent",
            AgentError::Ended => "Ended",
            AgentError::Stranger { .. } => "Stranger",
        }
    }
}
