//! What a stack of layers changes in whatever it lies on.

use stagewright_layer::{Entry, EntryKind, EntryPath};

use super::{MergedTree, Node, Part, TreeEntry};

impl MergedTree {
    /// Returns what these layers together change in what they lie on, as entries of one layer, in the
    /// order of paths: what they hold at last, a whiteout for what they remove, and a mark on each
    /// directory that hides all that is below it there.
    pub(crate) fn difference(&self, below: &Self) -> Vec<TreeEntry> {
        let all = self.layers.iter().enumerate().rev();
        let parts = all.map(|(layer, files)| Part {
            layer,
            subtree: 0..files.index().len(),
        });
        let root = self.stack(EntryPath::root(), parts.collect());
        let mut changes = Vec::new();
        // In reverse order, each with whether a directory above it hides all that is below.
        let mut waiting = vec![(root, false)];
        while let Some((node, hidden)) = waiting.pop() {
            let below = (!hidden).then_some(below);
            changes.extend(self.change(&node, below));
            let hides = hidden || node.hides;
            let first = waiting.len();
            self.each_child(&node, |path, parts| {
                waiting.push((self.stack(path, parts), hides));
            });
            waiting[first..].reverse();
        }
        changes
    }

    /// Returns what is changed at a path itself. `below` is what is seen there without it.
    fn change(&self, node: &Node, below: Option<&Self>) -> Option<TreeEntry> {
        let below = || below.and_then(|below| below.lookup(&node.path));
        if !node.exists() {
            return below().map(|_| TreeEntry {
                entry: Entry::whiteout(node.path.clone()),
                file: None,
            });
        }
        let mut found = self.entry_of(node);
        let EntryKind::Directory { opaque } = &mut found.entry.kind else {
            return Some(found);
        };
        let is_there = || below().is_some_and(|below| below.kind().is_directory());
        *opaque = node.hides && is_there();
        // One that is only mentioned is as it was.
        let mentioned = !*opaque && node.entry.is_none() && (node.path.is_root() || is_there());
        (!mentioned).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use stagewright_layer::{LayerIndex, Record};

    use super::super::tests::{layer, tree};
    use super::*;

    /// Writes entries as `layer` reads them, hard links aside.
    fn lines(entries: &[TreeEntry]) -> Vec<String> {
        let line = |found: &TreeEntry| {
            let path = found.path().as_path().display();
            match found.kind() {
                EntryKind::Whiteout => format!("-{path}"),
                EntryKind::Directory { opaque: true } => format!("{path}!"),
                EntryKind::Directory { opaque: false } => format!("{path}/"),
                _ => path.to_string(),
            }
        };
        entries.iter().map(line).collect()
    }

    #[test]
    fn changes_of_layers_are_those_of_one() {
        let below = tree(&[&["a", "d/", "d/a", "d/e/", "d/e/f", "x"]]);
        let cases: &[(&[&[&str]], &[&str])] = &[
            (&[], &[]),
            (&[&["n", "b/"], &["b/", "b/c"]], &["b/", "b/c", "n"]),
            // What is made and removed leaves nothing but that what was there is gone.
            (&[&["n", "a"], &["-n", "-a"]], &["-a"]),
            (&[&["-a"], &["a"]], &["a"]),
            (&[&["d/", "d/n"], &["-d"]], &["-d"]),
            (&[&["-d"], &["d/", "d/b"]], &["d!", "d/b"]),
            (&[&["-d"], &["d/b"]], &["d!", "d/b"]),
            (&[&["n/", "n/a"], &["n!", "n/b"]], &["n/", "n/b"]),
            // Under such a directory nothing else has to be hidden.
            (
                &[&["d!", "d/a", "d/e/"], &["-d/a", "d/e!"]],
                &["d!", "d/e/"],
            ),
            (&[&["d/", "d/n"], &["d"]], &["d"]),
            (&[&["a"], &["a/", "a/b"]], &["a/", "a/b"]),
            (&[&["-d/e/f"]], &["-d/e/f"]),
            (&[&["-n/e/f"]], &["n/", "n/e/"]),
            (&[&["d/e/g", "y"], &["-d/e"], &["-x"]], &["-d/e", "-x", "y"]),
            (&[&["a", "b"], &["!", "c"]], &["!", "c"]),
        ];
        for (layers, expected) in cases {
            let changes = tree(layers).difference(&below);
            assert_eq!(lines(&changes), *expected, "{layers:?}");
        }
    }

    /// Whatever the layers are and lie on, their difference does to it what they do.
    #[test]
    fn the_difference_does_what_the_layers_do() {
        const LINES: [&str; 14] = [
            "a", "-a", "a/", "a!", "a/b", "-a/b", "a/b/", "a/b!", "a/b/c", "-a/b/c", "d", "-d",
            "d/e", "!",
        ];
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut compared = 0;
        for _ in 0..20_000 {
            let mut layers = Vec::new();
            for number in 0..4 {
                let lines = LINES.iter().filter(|_| random() % 4 == 0);
                let lines: Vec<&str> = lines.copied().collect();
                layers.extend(layer(number, &lines));
            }
            let Some(base) = layers.len().checked_sub(1).map(|most| most.min(1)) else {
                continue;
            };
            let all = MergedTree::new(layers.clone());
            let above = MergedTree::new(layers[base..].to_vec());
            let below = MergedTree::new(layers[..base].to_vec());
            let changes = above.difference(&below);
            let records = changes.into_iter().map(|found| Record::from(found.entry));
            let index = LayerIndex::from_records(records.collect()).unwrap();
            let mut stacked = layers[..base].to_vec();
            stacked.push(super::super::tests::of_index(index));
            let stacked = MergedTree::new(stacked);
            let shown = |tree: &MergedTree| -> Vec<Entry> {
                let walk = tree.walk(&EntryPath::root());
                walk.map(|found| found.entry).collect()
            };
            assert_eq!(shown(&stacked), shown(&all), "{layers:?}");
            compared += 1;
        }
        assert!(compared > 10_000);
    }
}
