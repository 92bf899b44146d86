//! What was typed: the verbs and their flags, docker's where docker has them.
//!
//! Nothing is looked up here; [`crate::verbs`] decides what it means.

mod annotation;
mod attest;
mod build;
mod cache;
mod call;
mod command_line;
mod explain;
mod image;
mod output;
mod output_options;
mod unsupported;
mod values;

pub(crate) use build::{BuildArguments, NetworkArgument, OnError, ProgressMode};
pub(crate) use cache::{CacheVerb, Format, PruneArguments, PruneFilter};
pub(crate) use call::{CallArgument, CallMethod};
pub(crate) use command_line::{Arguments, GlobalArguments, Verb};
pub(crate) use explain::ExplainArguments;
pub(crate) use image::{
    CopyArguments, ImagesArguments, InspectArguments, LoadArguments, ParseArguments, PullArguments,
    PushArguments, RmiArguments, RunArguments, SaveArguments, SaveFormat, SizesArguments,
    TagArguments,
};
pub(crate) use output::{ArchiveForm, Compression, OutputArgument, OutputKind};
pub(crate) use values::{KeyValue, MirrorArgument, SecretArgument, SecretOrigin, SshArgument};
