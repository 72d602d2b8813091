use super::*;

fn tenant(name: &str, parent: &str, gpus: u64) -> Tenant {
    let parent = (!parent.is_empty()).then(|| parent.into());
    Tenant {
        parent,
        guaranteed: Resources::gpus(gpus),
        ..Tenant::new(name)
    }
}

fn tree(capacity: u64, tenants: &[Tenant]) -> Tree {
    Tree::new(
        tenants.iter(),
        core::iter::empty(),
        &Resources::gpus(capacity),
    )
}

fn gpus(amount: &Resources) -> u64 {
    amount.get(Resource::Gpu) / 1000
}

fn hold(tree: &mut Tree, tenant: &str, count: u64) {
    let seat = tree.seat(&tenant.into()).unwrap();
    tree.add(seat, &Resources::gpus(count));
}

#[test]
fn a_parents_guarantee_is_its_subtrees() {
    let tenants = [
        tenant("org", "", 10),
        tenant("a", "org", 4),
        tenant("b", "org", 4),
        tenant("other", "", 6),
    ];
    let mut tree = tree(16, &tenants);
    let seat = |name: &str| tree.seat(&name.into()).unwrap();
    let (org, a, other) = (seat("org"), seat("a"), seat("other"));
    assert_eq!(
        (gpus(tree.subtree(org)), gpus(tree.subtree(other))),
        (10, 6)
    );
    hold(&mut tree, "a", 6);
    hold(&mut tree, "other", 6);
    assert_eq!((gpus(&tree.borrowed(a)), gpus(&tree.borrowed(org))), (2, 0));
    assert_eq!(gpus(tree.usage(ROOT)), 12);
    assert_eq!(tree.common(a, seat_of(&tree, "b")), org);
    assert_eq!(tree.common(a, other), ROOT);
}

fn seat_of(tree: &Tree, name: &str) -> Seat {
    tree.seat(&name.into()).unwrap()
}

#[test]
fn what_is_kept_is_not_available_to_others() {
    let mut a = tenant("a", "", 6);
    a.lending_limit = Limits::NONE.with(Resource::Gpu, 1000);
    let mut tree = tree(10, &[a, tenant("b", "", 4)]);
    let (a, b) = (seat_of(&tree, "a"), seat_of(&tree, "b"));
    assert_eq!((gpus(tree.potential(a)), gpus(tree.potential(b))), (10, 5));
    hold(&mut tree, "b", 4);
    let free = Resources::gpus(6);
    assert_eq!(tree.withheld(b, &Resources::gpus(1), &free), None);
    assert_eq!(
        tree.withheld(b, &Resources::gpus(2), &free),
        Some((Resource::Gpu, 1000))
    );
    assert_eq!(tree.withheld(a, &Resources::gpus(6), &free), None);
}

#[test]
fn a_circle_of_parents_stands_at_the_top() {
    let tree = tree(
        8,
        &[
            tenant("a", "b", 0),
            tenant("b", "a", 0),
            tenant("c", "nobody", 0),
        ],
    );
    assert_eq!(tree.children(ROOT).len(), 3);
}

#[test]
fn what_is_added_is_taken_away_again() {
    let mut a = tenant("a", "org", 4);
    a.lending_limit = Limits::NONE.with(Resource::Gpu, 2000);
    let mut tree = tree(16, &[tenant("org", "", 6), a]);
    let a = seat_of(&tree, "a");
    let with: Vec<_> = tree.with(a, &Resources::gpus(5)).map(|w| w.1).collect();
    tree.add(a, &Resources::gpus(5));
    let held: Vec<Resources> = tree.way_up(a, ROOT).map(|seat| *tree.usage(seat)).collect();
    assert_eq!(with, held);
    assert_eq!(with.iter().map(gpus).collect::<Vec<_>>(), [5, 3]);
    tree.remove(a, &Resources::gpus(5));
    assert!((0..tree.len()).all(|seat| tree.usage(seat).is_zero()));
}
