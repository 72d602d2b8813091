//! What is due to a tenant by its schedules.

use super::*;

/// Whatever has been heard meanwhile, each change comes at its moment, and once.
#[test]
fn what_is_due_to_a_tenant_turns_with_the_hour() {
    let mut observed = Observed::new("nvidia.com/gpu", Classes::default(), Patience::default());
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let night = json!({"name": "night", "from": "20:00", "to": "08:00", "timeZone": "UTC", "guaranteed": {"gpu": 32}});
    let manifest = |version: &str| -> Object {
        let object = json!({
            "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": "red", "resourceVersion": version},
            "spec": {"guaranteed": {"gpu": 16}, "schedules": [night]},
        });
        Object::Tenant(Box::new(TenantView::new(
            &serde_json::from_value(object).unwrap(),
        )))
    };
    let owned = |news: News| -> Vec<Resources> {
        let facts = news.facts.into_iter().map(|fact| match fact {
            Event::TenantChanged(tenant) => tenant.guaranteed,
            other => panic!("{other:?}"),
        });
        facts.collect()
    };
    assert_eq!(owned(observed.turn(at("2026-05-01T12:00:00Z"))), []);
    let news = observed.apply(Change::Applied(manifest("1")));
    assert_eq!(owned(news), [Resources::gpus(16)]);
    assert_eq!(observed.next_turn(), Some(at("2026-05-01T20:00:00Z")));
    assert_eq!(owned(observed.turn(at("2026-05-01T19:59:59Z"))), []);
    let evening = observed.turn(at("2026-05-01T20:00:00Z"));
    assert_eq!(owned(evening), [Resources::gpus(32)]);
    assert_eq!(owned(observed.turn(at("2026-05-01T20:00:01Z"))), []);
    // The status is written, or anything else: what is due stays.
    assert_eq!(owned(observed.apply(Change::Applied(manifest("2")))), []);
    assert_eq!(observed.next_turn(), Some(at("2026-05-02T08:00:00Z")));
    // Whoever sleeps through a night has missed nothing.
    assert_eq!(
        owned(observed.turn(at("2026-05-03T12:00:00Z"))),
        [Resources::gpus(16)]
    );
    observed.apply(Change::Deleted(manifest("2")));
    assert_eq!(observed.next_turn(), None);
}
