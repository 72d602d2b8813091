//! Tenants, and which namespaces are theirs.

use k8s_openapi::jiff::Timestamp;
use prorata_core::{Event, Tenant, TenantId};

use super::{News, Observed, Uid};
use crate::translate::{JobView, TenantView};

impl Observed {
    /// One that is not understood stays in the core as it last was.
    pub(super) fn put_tenant(&mut self, view: TenantView, news: &mut News) {
        let known = self.tenants.get(&view.id);
        if known.is_some_and(|known| known.version > view.version) {
            return;
        }
        let before = known.and_then(|known| known.tenant.clone().ok());
        if known.is_none_or(|known| known.classes != view.classes) {
            let theirs = |job: &JobView| self.namespaces.get(job.id.namespace()) == Some(&view.id);
            let touched = self.jobs.iter().filter(|(_, job)| theirs(job));
            news.touched.extend(touched.map(|(uid, _)| uid.clone()));
        }
        self.put_as_due(view, before, news);
    }

    /// When something else is due to a tenant next.
    #[must_use]
    pub fn next_turn(&self) -> Option<Timestamp> {
        self.turns.values().min().copied()
    }

    /// It is later: what is due to tenants now may be something else.
    pub fn turn(&mut self, now: Timestamp) -> News {
        self.now = now;
        let mut news = News::default();
        let due = self.turns.iter().filter(|(_, at)| **at <= now);
        for id in due.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            if let Some(view) = self.tenants.remove(&id) {
                let before = view.tenant.clone().ok();
                self.put_as_due(view, before, &mut news);
            }
        }
        news
    }

    /// As of now; a fact where that differs from what was due to it before.
    fn put_as_due(&mut self, mut view: TenantView, before: Option<Tenant>, news: &mut News) {
        match view.bring_to(self.now) {
            Some(at) => self.turns.insert(view.id.clone(), at),
            None => self.turns.remove(&view.id),
        };
        let tenant = view.tenant.clone().ok();
        if tenant != before {
            news.facts.extend(tenant.map(Event::TenantChanged));
        }
        self.tenants.insert(view.id.clone(), view);
    }

    /// A namespace belongs to a tenant from now on, or to none.
    pub(super) fn assign(&mut self, namespace: String, tenant: Option<TenantId>, news: &mut News) {
        let ours = |(_, job): &(&Uid, &JobView)| job.id.namespace() == namespace;
        news.touched
            .extend(self.jobs.iter().filter(ours).map(|(uid, _)| uid.clone()));
        let is_as_before = self.namespaces.get(&namespace) == tenant.as_ref();
        match tenant {
            Some(tenant) => self.namespaces.insert_mut(namespace.clone(), tenant),
            None => {
                self.namespaces.remove_mut(&namespace);
            }
        }
        if !is_as_before {
            self.charge_anew(&namespace, news);
        }
    }
}
