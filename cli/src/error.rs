//! What ends a command early, and the exit code that goes with it.
//!
//! | code | means                                                        |
//! |-----:|--------------------------------------------------------------|
//! |    0 | done; also where the reader of a pipe went away              |
//! |    1 | it could not be done, or not all of it; the message says why |
//! |    2 | the command line is wrong                                    |
//! |    3 | damage was found, by `verify`, `inspect`, `backup`, `restore` or `tenant export`; or a script's evaluation failed |

use std::fmt;
use std::io;

/// Why a command ends without having done what was asked.
#[derive(Debug)]
pub(crate) enum CliError {
    /// One line of what is wrong, and where that is known what to do next.
    Failed {
        /// What is wrong, without a full stop.
        message: String,
        /// What to do next.
        help: Option<String>,
    },
    /// Already rendered over several lines, `error: ` included: a query with its caret.
    Rendered(String),
    /// The command line asks for something that does not exist.
    Usage {
        /// What is wrong.
        message: String,
        /// What to write instead.
        help: Option<String>,
    },
    /// The reader of standard output went away: nothing is left to say.
    Gone,
}

/// What a command returns: the exit code of a command that ran to its end.
pub(crate) type Outcome = Result<u8, CliError>;

impl CliError {
    /// An error without advice.
    pub(crate) fn failed(message: impl fmt::Display) -> CliError {
        CliError::Failed { message: message.to_string(), help: None }
    }

    /// An error of the command line without advice.
    pub(crate) fn usage(message: impl fmt::Display) -> CliError {
        CliError::Usage { message: message.to_string(), help: None }
    }

    /// Puts in front what it concerns.
    pub(crate) fn about(self, what: impl fmt::Display) -> CliError {
        match self {
            CliError::Failed { message, help } => {
                CliError::Failed { message: format!("{what}: {message}"), help }
            }
            other => other,
        }
    }

    /// Adds what to do next.
    pub(crate) fn help(self, advice: impl fmt::Display) -> CliError {
        let help = Some(advice.to_string());
        match self {
            CliError::Failed { message, .. } => CliError::Failed { message, help },
            CliError::Usage { message, .. } => CliError::Usage { message, help },
            other => other,
        }
    }

    /// What is wrong and what to do next, for who tells it in words of their own.
    pub(crate) fn into_parts(self) -> (String, Option<String>) {
        match self {
            CliError::Failed { message, help } | CliError::Usage { message, help } => (message, help),
            other => (other.to_string(), None),
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            CliError::Failed { .. } | CliError::Rendered(_) => 1,
            CliError::Usage { .. } => 2,
            CliError::Gone => 0,
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::Failed { message, help } | CliError::Usage { message, help } => {
                write!(f, "error: {message}")?;
                help.iter().try_for_each(|help| write!(f, "\n  {help}"))
            }
            CliError::Rendered(text) => f.write_str(text.trim_end()),
            CliError::Gone => Ok(()),
        }
    }
}

/// Errors of writing to standard output.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> CliError {
        match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::Gone,
            _ => CliError::failed(format_args!("cannot write the output: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let gone = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((gone.code(), gone.to_string()), (0, String::new()));
    }
}
