//! The subcommands, a file each, and how they fail.

pub mod batch;

/// Why a command ends early: an exit status and what to say on standard error.
#[derive(Debug)]
pub struct Failure {
    pub status: u8,
    pub message: String,
}

impl Failure {
    /// A wrong rule or query: exit status 2.
    pub fn query(message: impl Into<String>) -> Failure {
        Failure { status: 2, message: message.into() }
    }

    /// Wrong usage, configuration or files: exit status 3.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { status: 3, message: message.into() }
    }
}
