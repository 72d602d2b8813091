//! Tenants, and which namespaces are theirs.

use prorata_core::{Event, TenantId};

use super::{News, Observed, Uid};
use crate::translate::{JobView, TenantView};

impl Observed {
    /// One that is not understood stays in the core as it last was.
    pub(super) fn put_tenant(&mut self, view: TenantView, news: &mut News) {
        let known = self.tenants.get(&view.id);
        if known.is_some_and(|known| known.version > view.version) {
            return;
        }
        let tenant = view.tenant.as_ref().ok();
        if known.and_then(|known| known.tenant.as_ref().ok()) != tenant {
            news.facts.extend(tenant.cloned().map(Event::TenantChanged));
        }
        if known.is_none_or(|known| known.classes != view.classes) {
            let theirs = |job: &JobView| self.namespaces.get(job.id.namespace()) == Some(&view.id);
            let touched = self.jobs.iter().filter(|(_, job)| theirs(job));
            news.touched.extend(touched.map(|(uid, _)| uid.clone()));
        }
        self.tenants.insert(view.id.clone(), view);
    }

    /// A namespace belongs to a tenant from now on, or to none.
    pub(super) fn assign(&mut self, namespace: String, tenant: Option<TenantId>, news: &mut News) {
        let ours = |(_, job): &(&Uid, &JobView)| job.id.namespace() == namespace;
        news.touched
            .extend(self.jobs.iter().filter(ours).map(|(uid, _)| uid.clone()));
        match tenant {
            Some(tenant) => self.namespaces.insert_mut(namespace, tenant),
            None => {
                self.namespaces.remove_mut(&namespace);
            }
        }
    }
}
