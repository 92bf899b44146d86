//! A store and a model of it: random sequences of builds, edits, crashes, damage and checks agree.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stagewright::{Builder, PruneOptions};
use stagewright_store::fault::{self, Fault};

use crate::damage::{files, flip};
use crate::faults::{NO_SPACE, chosen, in_own_process};
use crate::lab::{self, Kind, Lab};

/// What is done to a store.
#[derive(Debug, Clone)]
enum Act {
    /// Builds what is there.
    Build,
    /// Changes the project: its number is another.
    Edit(u64),
    /// Builds until an operation, after which nothing reaches the disk any more, and begins anew
    /// with another process's view of the store.
    Crash(u64),
    /// Flips a bit somewhere.
    Damage(u64),
    /// Checks the store.
    Verify,
    /// Asks for the index.
    ListUses,
    /// Removes all that no name needs.
    Prune,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => Just(Act::Build),
        4 => (0..4_u64).prop_map(Act::Edit),
        3 => (0..150_u64).prop_map(Act::Crash),
        2 => any::<u64>().prop_map(Act::Damage),
        2 => Just(Act::Verify),
        1 => Just(Act::ListUses),
        2 => Just(Act::Prune),
    ];
    proptest::collection::vec(act, 1..16)
}

/// A step of the lab's project: the file that is always the same, that with the number, and the copy
/// from the first stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Fixed,
    Number(u64),
    Copy(u64),
}

/// What must be true of the store.
#[derive(Debug, Default)]
struct Model {
    number: u64,
    /// Whose results are surely stored.
    stored: BTreeSet<Step>,
    /// Whose results may be: a crash came when they were made, or they may have been damaged.
    unsure: BTreeSet<Step>,
    /// The images that were ever made, by number: the same files make the same image for ever.
    images: BTreeMap<u64, String>,
    /// Whose names are surely stored.
    named: BTreeSet<u64>,
    /// Whether something may be damaged.
    damaged: bool,
}

impl Model {
    fn steps(&self) -> [Step; 3] {
        [
            Step::Fixed,
            Step::Number(self.number),
            Step::Copy(self.number),
        ]
    }

    fn check_executed(&self, executed: usize) {
        let steps = self.steps();
        let stored = |step: &&Step| self.stored.contains(step);
        let unsure = |step: &&Step| self.unsure.contains(step) && !self.stored.contains(step);
        let most = steps.len() - steps.iter().filter(stored).count();
        let least = most - steps.iter().filter(unsure).count();
        assert!(
            (least..=most).contains(&executed),
            "{executed} steps ran, {least} to {most} had to: {self:?}"
        );
    }

    fn built(&mut self, image: String) {
        self.stored.extend(self.steps());
        self.named.insert(self.number);
        let first = self.images.entry(self.number).or_insert(image.clone());
        assert_eq!(*first, image);
    }

    /// Everything may be lost.
    fn doubt(&mut self) {
        self.forget_results();
        self.named.clear();
    }

    /// Every result may be lost, and no name.
    fn forget_results(&mut self) {
        self.unsure.append(&mut self.stored);
    }
}

struct World {
    _folder: tempfile::TempDir,
    lab: Lab,
    builder: Builder,
    model: Model,
}

impl World {
    fn new() -> Self {
        let folder = lab::folder(Kind::Copies);
        let lab = Lab::make(folder.path(), Kind::Copies);
        Self {
            builder: lab.open().unwrap(),
            lab,
            _folder: folder,
            model: Model::default(),
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Build => self.build(),
            Act::Edit(number) => self.model.number = *number,
            Act::Crash(point) => self.crash(*point),
            Act::Damage(n) => {
                let files = files(&self.lab);
                if let Some(path) = files.get(usize::try_from(n % 97).unwrap() % files.len().max(1))
                {
                    flip(path, *n);
                    self.model.damaged = true;
                    self.model.doubt();
                }
            }
            Act::Verify => {
                let found = self.builder.verify_cache(false).unwrap().damaged;
                assert!(self.model.damaged || found.is_empty(), "{found:?}");
                self.builder.verify_cache(true).unwrap();
                self.lab.check_store(&self.builder);
                self.model.damaged = false;
            }
            Act::Prune => {
                let options = PruneOptions {
                    all: true,
                    ..PruneOptions::default()
                };
                self.builder.prune_cache(&options).unwrap();
                // What an image with a name needs is there still; the rest is gone.
                self.model.forget_results();
            }
            Act::ListUses => drop(self.builder.layer_uses().unwrap()),
        }
        for number in &self.model.named {
            let named = self.builder.image(&format!("lab:{number}")).unwrap();
            assert_eq!(named.id().to_string(), self.model.images[number]);
        }
    }

    fn build(&mut self) {
        let number = self.model.number;
        let mut attempts = 0;
        let (built, files) = loop {
            let seen = self.builder.damage_seen();
            let attempt = || {
                let built = self.lab.build(&self.builder, number).unwrap();
                self.lab.export(&built.image, "exported.tar")?;
                self.lab
                    .read_files(&built.image)
                    .map(|files| (built, files))
            };
            match attempt() {
                Ok(done) => break done,
                Err(error) => {
                    let found = self.builder.damage_seen() > seen;
                    assert!(found && self.model.damaged && attempts < 4, "{error:?}");
                    attempts += 1;
                }
            }
        };
        self.lab.check_read(&files, number);
        if !self.model.damaged {
            self.model.check_executed(built.executed);
        }
        self.model.built(built.image.id().to_string());
        if self.model.damaged {
            // What this build did not meet may be damaged still.
            self.model.doubt();
        }
    }

    fn crash(&mut self, point: u64) {
        fault::arm(Some((point, Fault::ErrorFromHere(NO_SPACE))));
        let result = self.lab.build(&self.builder, self.model.number);
        fault::arm(None);
        match result {
            // The crash came after all that the build had to write.
            Ok(built) => self.model.built(built.image.id().to_string()),
            Err(_) => self.model.unsure.extend(self.model.steps()),
        }
        if self.model.damaged {
            self.model.doubt();
        }
        self.builder = self.lab.open().unwrap();
    }
}

/// Runs the sequences, if it is the process for that.
#[test]
fn sequences() {
    if chosen().is_none() {
        return;
    }
    let config = Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&acts(), |acts| {
            let mut world = World::new();
            for act in &acts {
                world.act(act);
            }
            world.act(&Act::Verify);
            world.act(&Act::Build);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_store_agrees_with_its_model() {
    in_own_process("model::sequences", "model");
}
