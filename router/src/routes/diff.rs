//! What changed between two tables, by key: additions, removals, changes.

use std::collections::BTreeMap;

/// One change of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<K, V> {
    /// A key that was not there.
    Add(K, V),
    /// A key that is gone.
    Remove(K, V),
    /// A key with another value; the old one, then the new one.
    Change(K, V, V),
}

/// The changes that lead from `old` to `new`, in the order of their keys.
pub fn diff<K: Ord + Clone, V: PartialEq + Clone>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
) -> Vec<Change<K, V>> {
    let mut changes = Vec::new();
    let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => return changes,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let gone = if order.is_le() { olds.next() } else { None };
        let come = if order.is_ge() { news.next() } else { None };
        match (gone, come) {
            (Some((key, old)), Some((_, new))) if old != new => {
                changes.push(Change::Change(key.clone(), old.clone(), new.clone()));
            }
            (Some((key, old)), None) => changes.push(Change::Remove(key.clone(), old.clone())),
            (None, Some((key, new))) => changes.push(Change::Add(key.clone(), new.clone())),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
}

/// Carries out `changes` on `table`; what the laws of a diff are told by.
#[cfg(test)]
fn apply<K: Ord + Clone, V: Clone>(table: &mut BTreeMap<K, V>, changes: &[Change<K, V>]) {
    for change in changes {
        match change {
            Change::Add(key, value) | Change::Change(key, _, value) => {
                table.insert(key.clone(), value.clone());
            }
            Change::Remove(key, _) => drop(table.remove(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Few keys and fewer values, so that two tables overlap in every way.
    fn tables() -> impl Strategy<Value = BTreeMap<u8, u8>> {
        proptest::collection::btree_map(0..6_u8, 0..2_u8, 0..6)
    }

    proptest! {
        #[test]
        fn applying_a_diff_gives_the_new_table(old in tables(), new in tables()) {
            let mut table = old.clone();
            apply(&mut table, &diff(&old, &new));
            prop_assert_eq!(table, new);
        }

        #[test]
        fn equal_tables_need_no_changes(table in tables()) {
            prop_assert!(diff(&table, &table).is_empty());
        }

        #[test]
        fn no_change_can_be_left_out_and_none_is_made_twice(old in tables(), new in tables()) {
            let changes = diff(&old, &new);
            for skipped in 0..changes.len() {
                let mut fewer = changes.clone();
                fewer.remove(skipped);
                let mut table = old.clone();
                apply(&mut table, &fewer);
                prop_assert_ne!(&table, &new);
            }
        }

        #[test]
        fn the_way_back_undoes_the_way_there(old in tables(), new in tables()) {
            prop_assert_eq!(diff(&old, &new).len(), diff(&new, &old).len());
        }
    }
}
