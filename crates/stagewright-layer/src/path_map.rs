//! Values by path.

use std::collections::BTreeMap;

use crate::path::EntryPath;

/// Values by path, which come out in the order of paths.
///
/// It is mostly filled in that order, out of a walk: then an insertion is a push, and a lookup of what comes after everything
/// else is one comparison.
#[derive(Debug, Clone)]
pub struct PathMap<V> {
    /// In order.
    run: Vec<(EntryPath, V)>,
    /// What came out of order. No path is in both.
    rest: BTreeMap<EntryPath, V>,
}

impl<V> Default for PathMap<V> {
    fn default() -> Self {
        Self {
            run: Vec::new(),
            rest: BTreeMap::new(),
        }
    }
}

impl<V> PathMap<V> {
    /// Makes room for so many values more.
    pub fn reserve(&mut self, values: usize) {
        self.run.reserve(values);
    }

    /// Returns the value of a path.
    pub fn get(&self, path: &EntryPath) -> Option<&V> {
        match self.find(path) {
            Ok(at) => Some(&self.run[at].1),
            Err(_) => self.rest.get(path),
        }
    }

    /// Gives a path a value, in place of the one that it has.
    pub fn insert(&mut self, path: EntryPath, value: V) {
        match self.find(&path) {
            Ok(at) => self.run[at].1 = value,
            Err(at) if at == self.run.len() && !self.rest.contains_key(&path) => {
                self.run.push((path, value));
            }
            Err(_) => drop(self.rest.insert(path, value)),
        }
    }

    /// Returns everything in the order of paths.
    pub fn into_sorted(self) -> Vec<(EntryPath, V)> {
        let mut all = self.run;
        if !self.rest.is_empty() {
            all.extend(self.rest);
            // Two runs, which sorting merges.
            all.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        all
    }

    fn find(&self, path: &EntryPath) -> Result<usize, usize> {
        match self.run.last() {
            Some((last, _)) if path <= last => {
                self.run.binary_search_by(|(other, _)| other.cmp(path))
            }
            _ => Err(self.run.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_a_tree_map_holds_in_whatever_order_it_comes() {
        let orders: [&[&str]; 4] = [
            &["a", "a/b", "a-b", "c"],
            &["c", "a-b", "a/b", "a"],
            &["b", "d", "a", "c", "e", "c", "a", "e"],
            &["b", "a", "c", "a", "b", "d"],
        ];
        for order in orders {
            let (mut map, mut tree) = (PathMap::default(), BTreeMap::new());
            for (number, name) in order.iter().enumerate() {
                let path = EntryPath::parse(name.as_bytes()).unwrap();
                assert_eq!(map.get(&path), tree.get(&path), "{name} of {order:?}");
                map.insert(path.clone(), number);
                tree.insert(path, number);
            }
            assert!(
                tree.iter()
                    .all(|(path, value)| map.get(path) == Some(value))
            );
            let sorted: Vec<_> = tree.into_iter().collect();
            assert_eq!(map.into_sorted(), sorted, "{order:?}");
        }
    }
}
