//! Why a command failed, in words that say what to do about it.

use std::fmt;
use std::process::ExitCode;

use crate::manifest::Problems;

/// Failed.
const FAILED: u8 = 1;
/// Wrong usage or wrong input.
const WRONG_INPUT: u8 = 2;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    remedy: Option<String>,
    kind: Kind,
    /// `what` is all that is to be printed.
    is_whole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The caller has not the right.
    Forbidden,
    /// What the attempt was based on is no longer so.
    Conflict,
    /// What the caller gave is wrong.
    Input,
    /// Anything else.
    Other,
}

impl Failure {
    /// Something went wrong.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: None,
            kind: Kind::Other,
            is_whole: false,
        }
    }

    /// What the caller gave is wrong: exit code 2.
    pub(crate) fn input(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let kind = Kind::Input;
        Self {
            kind,
            ..Self::new(what).help(remedy)
        }
    }

    /// What is wrong with a file: exit code 2.
    pub(crate) fn problems(problems: Problems) -> Self {
        Self {
            kind: Kind::Input,
            is_whole: true,
            ..Self::new(problems.to_string())
        }
    }

    /// The same, with what to do about it.
    pub(crate) fn help(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// What the API server, or the way to it, answered to an attempt such as `list jobs.batch in
    /// namespace red`.
    pub(crate) fn api(attempt: &str, error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::unreachable(attempt, &error);
        };
        let refused_by_policy = status.message.contains("denied request");
        match status.code {
            401 => Self::new("the API server does not know who you are")
                .help("log in again, or name another --kubeconfig or --context"),
            403 if !refused_by_policy => Self {
                kind: Kind::Forbidden,
                ..Self::new(format!("you may not {attempt}"))
                    .help("ask an administrator for that right; `prorata-view` is the role that shows the queue")
            },
            404 if is_unknown_kind(&status.message) => {
                Self::new(format!("cannot {attempt}: Prorata is not installed here"))
                    .help("an administrator runs `prorata install | kubectl apply -f -`")
            }
            404 => Self::new(format!("cannot {attempt}: there is none of this name")),
            409 => Self {
                kind: Kind::Conflict,
                ..Self::new(format!("cannot {attempt}: {}", status.message))
            },
            _ => Self::new(format!("cannot {attempt}: {}", status.message)),
        }
    }

    fn unreachable(attempt: &str, error: &kube::Error) -> Self {
        Self::new(format!("cannot {attempt}: {}", chain(error))).help(
            "see that the API server of your kubeconfig answers, or name another --kubeconfig or --context",
        )
    }

    /// Whether a right is missing.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.kind == Kind::Forbidden
    }

    /// Whether what the attempt was based on is no longer so.
    pub(crate) fn is_conflict(&self) -> bool {
        self.kind == Kind::Conflict
    }

    /// What went wrong, in one line.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Prints it, and gives the exit code for it.
    pub(crate) fn tell(&self) -> ExitCode {
        eprintln!("{self}");
        match self.kind {
            Kind::Input => ExitCode::from(WRONG_INPUT),
            _ => ExitCode::from(FAILED),
        }
    }
}

/// A kind that is not there is told by a path that is not there; a missing object by its name.
fn is_unknown_kind(message: &str) -> bool {
    message.contains("page not found") || message.contains("could not find the requested resource")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_whole {
            return f.write_str(&self.what);
        }
        write!(f, "error: {}", self.what)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  help: {remedy}"),
            None => Ok(()),
        }
    }
}

/// An error and what it came of; the outermost alone often says nothing.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn api(code: u16, message: &str) -> Failure {
        let status = Status {
            code,
            message: message.to_owned(),
            ..Status::default()
        };
        Failure::api("create Job red/a", kube::Error::Api(status.boxed()))
    }

    #[test]
    fn says_what_is_missing_and_what_helps() {
        let text = api(403, "jobs.batch is forbidden: User \"bob\" cannot create").to_string();
        assert!(
            text.starts_with("error: you may not create Job red/a\n  help: "),
            "{text}"
        );
        let text = api(
            403,
            "policy 'x' denied request: GPUs here are given out by a queue",
        )
        .to_string();
        assert_eq!(
            text,
            "error: cannot create Job red/a: policy 'x' denied request: GPUs here are given out by a queue"
        );
        let absent = api(404, "404 page not found");
        assert!(absent.to_string().contains("not installed"));
        let missing = api(404, "jobs.batch \"a\" not found");
        assert!(missing.to_string().contains("none of this name"));
    }
}
