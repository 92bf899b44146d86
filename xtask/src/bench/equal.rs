//! Whether the builders made the same image: times say nothing of builders that did not do the same.

use std::fmt::Write as _;

use anyhow::Result;
use stagewright_testkit::{Image, rootfs_differences};

use super::builders::{Archive, Builder};
use super::workloads::Workload;
use crate::host;

/// What another builder's image of a workload has in common with ours.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) workload: &'static str,
    pub(super) builder: &'static str,
    /// Files, folders and links of our image.
    entries: usize,
    /// One line a path; empty when both hold the same.
    differences: Vec<String>,
}

/// Builds a workload once more with every builder, and compares what the images hold: kinds, bytes, modes, owners,
/// extended attributes. Modification times are those of the build.
pub(super) fn compare(builders: &[Builder], workload: &Workload) -> Result<Vec<Compared>> {
    let image = |builder: &Builder| -> Result<Image> {
        host::output(&mut builder.build(workload))?;
        host::output(&mut builder.archive(workload, Archive::Plain))?;
        Ok(Image::read(&builder.archive_file()))
    };
    let Some((ours, theirs)) = builders.split_first() else {
        return Ok(Vec::new());
    };
    let ours = image(ours)?;
    theirs
        .iter()
        .map(|builder| {
            let compared = Compared {
                workload: workload.name,
                builder: builder.name,
                entries: ours.rootfs.entries.len(),
                differences: rootfs_differences(&ours.rootfs, &image(builder)?.rootfs),
            };
            println!("  {:<14} {}", compared.builder, compared.verdict());
            Ok(compared)
        })
        .collect()
}

/// Returns the section of the report: a table, and below it what differed.
pub(super) fn section(compared: &[Compared]) -> String {
    let mut text = String::from(
        "\n## The same images\n\nEach builder's image of each workload next to stagewright's: every path's kind, bytes, mode, owner \
         and extended attributes.\n\n| | builder | |\n|---|---|---|\n",
    );
    for one in compared {
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            one.workload,
            one.builder,
            one.verdict()
        );
    }
    for one in compared {
        for line in &one.differences {
            let _ = write!(text, "\n- {} {}: {line}", one.workload, one.builder);
        }
    }
    text
}

impl Compared {
    fn verdict(&self) -> String {
        match self.differences.len() {
            0 => format!("the same {} entries", self.entries),
            count => format!("{count} of {} entries differ", self.entries),
        }
    }
}
