//! What the command does: one file a verb.

mod build;
mod cache;
mod call;
mod dispatch;
mod doctor;
mod explain;
mod images;
mod input;
mod inspect;
mod interrupts;
mod load;
mod outputs;
mod parse;
mod push;
mod run;
mod save;
mod shell;
mod sizes;
mod table;
mod transfer;
mod watch;

pub(crate) use dispatch::run;
