//! What a Job says of its start: when something was decided about it, and now.

use prorata_core::JobId;

use super::Writer;
use crate::translate::{Form, JobView};

/// What a Job says of its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The admission that last started it.
    pub epoch: Option<i64>,
    /// Whether it is suspended.
    pub is_suspended: bool,
}

impl Seen {
    /// What this one says.
    #[must_use]
    pub const fn of(view: &JobView) -> Self {
        Self {
            epoch: view.epoch,
            is_suspended: view.is_suspended,
        }
    }
}

impl Writer {
    /// What the Job says now, whatever its watch has told.
    pub(super) async fn look(&self, job: &JobId, form: Form) -> kube::Result<Seen> {
        let view = match form {
            Form::Composite(kind) => {
                let now = self.composites(job, kind).get(job.name()).await?;
                JobView::of_composite(kind, &now, &self.gpu_resource)
            }
            Form::Job | Form::Pod | Form::Gang => {
                let now = self.jobs(job).get(job.name()).await?;
                JobView::new(&now, &self.gpu_resource)
            }
        };
        Ok(Seen::of(&view))
    }
}
